#!/usr/bin/env python3
"""A checkpoint whose small files come from a stranger: chat templates that are broken or want to be expensive, files that
are too large. Whatever it is, one sentence comes soon, and only for those who use the thing."""
import json
import os
import resource

from program import DEMO, DODECA, check, finish, run, scratch

CHATS = '[{"role": "user", "content": "Hi"}]'
GROW = "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}"
EXPENSIVE = {
    "nested deeply": ("{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}", "deep"),
    "shared, printed": (GROW + "{{ ns.l | tojson }}", "the chat template "),
    "shared, compared": (GROW + "{{ ns.l == ns.m }}", "units of work"),
    "memory": ("{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = ns.x + ['x' * 999999 ~ i] %}{% endfor %}", "MiB of memory"),
    "too long": ("x" * (1 << 20) + "y", "more than 1048576 bytes"),
}


class Checkpoint:
    """The demo's, with one file replaced at a time."""

    def __init__(self, folder):
        self.folder = folder
        for name in os.listdir(DEMO):
            os.symlink(os.path.join(DEMO, name), os.path.join(folder, name))
        self.chats = os.path.join(folder, "chats")
        with open(self.chats, "w") as file:
            file.write(CHATS)

    def template(self, text):
        with open(os.path.join(self.folder, "chat_template.jinja"), "w") as file:
            file.write(text)

    def chat(self):
        return run(DODECA, "tokenize", "-m", self.folder, "--chat", self.chats, "--text")

    def complete(self):
        return run(DODECA, "run", "-m", self.folder, "-p", "It is", "-n", "1", "--no-conversation", "-q")


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    with scratch() as folder:
        checkpoint = Checkpoint(folder)
        checkpoint.template("{{ messages[0].content }}!")
        check(checkpoint.chat().out == "Hi!", "the template of the folder is rendered")
        for name, (source, words) in EXPENSIVE.items():
            checkpoint.template(source)
            before = processor_seconds()
            done = checkpoint.chat()
            check(done.code == 1 and words in done.err and done.err.count("\n") == 1, f"{name}: {done.code} {done.err[-300:]!r}")
            check(processor_seconds() - before < 20, f"{name}: ends soon")
        check(checkpoint.complete().code == 0, "a completion does not mind a template that is too long")
        checkpoint.template("{% nonsense %}")
        check("'nonsense'" in checkpoint.chat().err, "an unknown tag is named")
        check(checkpoint.complete().code == 0, "a completion does not mind a broken template")

        path = os.path.join(folder, "tokenizer.json")
        os.remove(path)
        with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as file:
            whole = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(whole, file)
        os.truncate(path, 230 << 20)
        done = run(DODECA, "tokenize", "-m", folder, "-p", "x", timeout=10)
        check(done.code == 1 and "has 241172480 bytes; at most 67108864 are read" in done.err, f"a large tokenizer.json: {done.err!r}")
    finish("templates")


main()
