"""A disk that fails when told to: support/faults.c preloaded into one run of a program, for the end-to-end tests."""
import os
import shutil
import subprocess

from program import ROOT, Done, read

EIO, ENOSPC = "5", "28"


def build(folder):
    """The library, or None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    library = os.path.join(folder, "faults.so")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, os.path.join(ROOT, "tests", "support", "faults.c"), "-ldl"],
                   check=True)
    return library


class Disk:
    """A folder of files whose state can be set, and what a power cut would leave of them."""

    def __init__(self, library, folder):
        self.library, self.folder = library, os.path.join(folder, "disk")
        self.shadow, self.seen = os.path.join(folder, "shadow"), os.path.join(folder, "seen")
        os.mkdir(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def files(self):
        """Contents by names; those of folders in it are like "folder/name"."""
        found = {}
        for where, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    found[os.path.relpath(path, self.folder)] = f.read()
        return dict(sorted(found.items()))

    def set(self, files):
        shutil.rmtree(self.folder)
        os.mkdir(self.folder)
        for name, data in files.items():
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            with open(self.path(name), "wb") as f:
                f.write(data)

    def run(self, command, calls="", at=0, what="", lasts=False):
        """Runs it on this disk; the call number `at` among the kinds `calls` (all: "") meets `what`."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        os.mkdir(self.shadow)
        for name, data in self.files().items():
            with open(os.path.join(self.shadow, str(os.stat(self.path(name)).st_ino)), "wb") as f:
                f.write(data)
        env = {**os.environ, "DODECA_TUNING": "none", "LD_PRELOAD": self.library, "FAULTS_FOLDER": self.folder, "FAULTS_CALLS": calls,
               "FAULTS_AT": str(at), "FAULTS_WHAT": what, "FAULTS_LASTS": str(int(lasts)), "FAULTS_SHADOW": self.shadow,
               "FAULTS_SEEN": self.seen}
        done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=600, env=env)
        done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return Done(done)

    def calls_seen(self):
        """Of the last run that ended by itself, one letter for each call."""
        with open(self.seen, encoding="ascii") as f:
            return f.read()

    def cut_power(self):
        """Leaves what the last run had synced: names of the folder's last sync, bytes of each file's last sync."""
        left = {}

        def add(names_file, prefix):
            if not os.path.exists(names_file):  # of a folder that was never synced
                return
            with open(names_file, encoding="utf-8") as names:
                for line in names:
                    kind, inode, name = line.rstrip("\n").split(" ", 2)
                    kept = os.path.join(self.shadow, inode)
                    if kind == "d":
                        add(os.path.join(self.shadow, "names-" + inode), prefix + name + "/")
                    else:
                        left[prefix + name] = read(kept) if os.path.exists(kept) else b""

        add(os.path.join(self.shadow, "names"), "")
        self.set(left)
