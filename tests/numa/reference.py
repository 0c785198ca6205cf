"""What the program gives on this computer. With virtual nodes nothing is bound, so it does not matter which nodes are here."""
import os
import subprocess
import tempfile

COMPLETION = ("-p", "It is a truth universally acknowledged, that a single man", "-n", "12", "--temp", "0", "--no-progress")


class Reference:
    def __init__(self, dodeca, models):
        self._dodeca, self._models, self._known = dodeca, models, {}

    def file_bytes(self, model):
        return os.path.getsize(self._models[model])

    def text(self, numa):
        """Greedy text with --numa `numa`."""
        return self._of(numa)[0]

    def layers(self, numa):
        """The bits of every block, a line each (--dump-layers)."""
        return self._of(numa)[1]

    def _of(self, numa):
        if numa not in self._known:
            with tempfile.TemporaryDirectory(prefix="dodeca-numa-") as folder:
                layers = os.path.join(folder, "layers")
                command = [self._dodeca, "run", "-m", self._models["demo.gguf"], *COMPLETION, "--numa", numa, "--dump-layers", layers]
                done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "DODECA_TUNING": "none"})
                if done.returncode != 0:
                    raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
                with open(layers, encoding="utf-8") as f:
                    self._known[numa] = done.stdout, f.read()
        return self._known[numa]
