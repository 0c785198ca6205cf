#!/ usr / bin / env python3
"""dodeca run on a terminal: chat commands, Ctrl-C in an answer and at the prompt."""
import os
import pty
import signal
import subprocess
import time

from program import DEMO, DODECA, check, finish


class Terminal:
    """A chat on a pseudo-terminal: what is typed, and everything that is shown."""

    def __init__(self, *args):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([DODECA, "run", "-m", DEMO, *args], stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=os.setsid, close_fds=True)
        os.close(slave)
        os.set_blocking(self.master, False)
        self.shown = ""

    def wait_for(self, text, timeout=120):
        """True once `text` is shown after what earlier calls consumed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                self.shown += os.read(self.master, 65536).decode("utf-8", "replace")
            except (BlockingIOError, OSError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.01)
            if text in self.shown:
                self.shown = self.shown.split(text, 1)[1]
                return True
        return False

    def type(self, text):
        os.write(self.master, text.encode())

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, timeout=60):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


try:
    os.close(pty.openpty()[0])
except OSError as error:
    print(f"this system gives no pseudo-terminal ({error}; is /dev/pts mounted?)")
    raise SystemExit(77)

#An answer long enough(about 20 s) that the interrupt always comes in the middle of it.
chat = Terminal("-n", "20000", "--ignore-eos", "-c", "24000", "--seed", "1")
check(chat.wait_for("/help"), "without a prompt on a terminal it chats")
check(chat.wait_for("> "), "it asks for a message")
chat.type("Who is Emma?\n")
check(chat.wait_for("Who is Emma?"), "the terminal echoes the message")
time.sleep(0.3)
chat.interrupt()
check(chat.wait_for("> "), "Ctrl-C stops the answer and the chat goes on")
chat.type("/help\n")
check(chat.wait_for("/regen"), "/help lists the commands")
chat.type("/nonsense\n")
check(chat.wait_for("unknown command /nonsense"), "an unknown command is named")
chat.type("/clear\n")
check(chat.wait_for("> "), "/clear")
chat.type("/exit\n")
check(chat.end() == 0, "/exit ends with 0")

for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
    chat = Terminal("-n", "4")
    check(chat.wait_for("> "), "it asks for a message")
    chat.process.send_signal(stop)
    check(chat.end() == code, f"{stop.name} at the prompt ends with {code}")
finish("terminal")
