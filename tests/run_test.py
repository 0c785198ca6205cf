#!/usr/bin/env python3
"""dodeca run as people use it: texts, chats through a pipe, Ctrl-C, stop texts, the end of the context, prompt caches."""
import os
import signal
import subprocess
import time

from program import DEMO, DODECA, check, finish, must, run, scratch

PROMPT = "It is a truth universally acknowledged, that a single man in possession of a good fortune"


def check_threads():
    def said(*options):
        done = must(DODECA, "run", "-m", DEMO, "-p", "It is", "-n", "2", "--temp", "0", *options)
        return next(line for line in done.err.splitlines() if line.startswith("threads: "))

    check(said("-t", "1") == "threads: 1: as asked for", "-t is taken as it is")
    check(said("-t", "1", "-tb", "2") == "threads: 1 for generation, 2 for prompts: as asked for", "-tb too")
    n_cores = len(os.sched_getaffinity(0))
    if n_cores <= 4:
        check(" core" in said(), f"why so many threads: {said()}")
    check(run(DODECA, "run", "-m", DEMO, "-p", "It is", "--poll", "101").code == 2, "--poll has a largest value")
    outs = {must(DODECA, "run", "-m", DEMO, "-p", "It is", "-n", "8", "--temp", "0", "-t", "2", "--poll", poll).out
            for poll in ("0", "50", "100")}
    check(len(outs) == 1, "--poll changes no text")


def check_chat_through_a_pipe(folder):
    chat = [DODECA, "run", "-m", DEMO, "-cnv", "-n", "8", "--temp", "0", "-q"]
    answers = must(*chat, stdin=b"Who is Emma?\n/regen\n/clear\nWho is Emma?\n").out.splitlines()
    check(len(answers) == 3 and answers[0] and answers[0] == answers[1] == answers[2], f"greedy answers repeat: {answers}")
    one = must(*chat, "-st", stdin=b"Who is Emma?\nAnd who is Anne?\n").out
    check(one == answers[0] + "\n", "-st ends after one turn")
    check(must(*chat, "-st", "-p", "Who is Emma?").out == one, "-p is the first message of a chat")
    check(must(*chat, "-st", "-p", "Who is Emma?", "-sys", "You are a novelist.").out != one, "-sys changes the prompt")
    check(must(*chat, "-st", "-p", "Who is Emma?", "--chat-template", "chatml").code == 0, "--chat-template chatml")
    check(must(*chat, "-st", "-p", "Who is Emma?", "--no-chat-template").code == 0, "--no-chat-template")
    own = os.path.join(folder, "own.jinja")
    with open(own, "w", encoding="utf-8") as f:
        f.write("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    check(must(*chat, "-st", "-p", "Who is Emma?", "--chat-template-file", own).out ==
          must(*chat, "-st", "-p", "Who is Emma?", "--chat-template", "chatml").out, "--chat-template-file")
    for bad, word in ((os.devnull, "no template"), (os.path.join(folder, "absent.jinja"), "absent.jinja")):
        done = run(*chat, "-st", "-p", "x", "--chat-template-file", bad)
        check(done.code == 1 and word in done.err and len(done.err.splitlines()) == 1, f"--chat-template-file {bad}: {done.err!r}")
    system = os.path.join(folder, "system.txt")
    with open(system, "w", encoding="utf-8") as f:
        f.write("You are a novelist.\n")
    check(must(*chat, "-st", "-p", "Who is Emma?", "-sysf", system).out ==
          must(*chat, "-st", "-p", "Who is Emma?", "-sys", "You are a novelist.").out, "-sysf is -sys from a file")
    wrong = run(*chat, "-st", "-p", "x", "--chat-template", "nonsense")
    check(wrong.code == 1 and "nonsense" in wrong.err, "an unknown template is named")


def check_drafts(folder):
    base = [DODECA, "run", "-m", DEMO, "-p", PROMPT, "-n", "60"]
    for sampling in (["--temp", "0"], ["--temp", "0.8", "--seed", "3", "--repeat-penalty", "1.1"], ["--temp", "1.2", "--seed", "5", "--stop", "the"]):
        plain = must(*base, *sampling, "--mtp", "off")
        check("drafts:" not in plain.err, "--mtp off drafts nothing")
        for mtp in ([], ["--mtp", "1"], ["--mtp", "3"]):
            check(must(*base, *sampling, *mtp).out == plain.out, f"{mtp} changes no text at {sampling}")
    said = next(line for line in must(*base, "--temp", "0", "--mtp", "1").err.splitlines() if line.startswith("drafts: "))
    made, taken = int(said.split()[1]), int(said.split()[3])
    check(0.3 * made < taken <= made, f"drafts are taken: {said}")
    for wrong in ("0", "8", "yes"):
        check(run(*base, "--mtp", wrong).code == 2, f"--mtp {wrong} is wrong usage")
    # A prompt that was saved with drafts serves without, and the other way round.
    for first, second in (("off", "1"), ("1", "off")):
        cache = os.path.join(folder, f"drafts-{first}.cache")
        text = must(*base, "--temp", "0", "--prompt-cache", cache, "--mtp", first).out
        done = must(*base, "--temp", "0", "--prompt-cache", cache, "--mtp", second)
        check(done.out == text and "were in the cache" in done.err, f"a prompt cache of --mtp {first} with --mtp {second}")


def check_completion():
    base = [DODECA, "run", "-m", DEMO, "--temp", "0"]
    whole = must(*base, "-p", PROMPT, "-n", "24", "-q").out
    check(whole.startswith(PROMPT), "the prompt is shown")
    rest = whole[len(PROMPT):].rstrip("\n")
    stop = rest[10:16]
    stopped = must(*base, "-p", PROMPT, "-n", "24", "--no-display-prompt", "--stop", stop).out.rstrip("\n")
    check(stopped == rest[:rest.find(stop)], f"--stop {stop!r} ends {rest!r} before it: {stopped!r}")
    check(must(*base, "-p", PROMPT, "-n", "24", "--no-display-prompt", "--stop", rest[-3:] + "#", "-q").out.rstrip("\n") == rest,
          "the beginning of a stop text that does not complete is text")
    piped = must(*base, "-n", "24", "-q", stdin=PROMPT.encode() + b"\n").out
    check(piped == whole, "a pipe is a prompt, its last newline is not")
    for escape in ([], ["-e"]):
        check(must(*base, "-p", "a\\n\\x41", *escape, "-n", "0", "-q").out == "a\nA\n", f"escapes of -p with {escape}")
    check(must(*base, "-p", "a\\n", "--no-escape", "-n", "0", "-q").out == "a\\n\n", "--no-escape")
    check(must(*base, "-n", "0", "-q", stdin=b"a\\n").out == "a\\n\n", "texts of files and pipes are taken as they are")
    full = run(*base, "-p", PROMPT, "-c", "32", "-n", "-1", "--ignore-eos")
    check(full.code == 0 and "context of 32 positions is full" in full.err, f"a full context is said: {full.err!r}")
    done = run(*base, "-p", PROMPT, "-n", "8")
    check("tokens/s" in done.err and "load" in done.err and "memory" in done.err, "the end has speeds, load time and memory")
    check("seed" in run(DODECA, "run", "-m", DEMO, "-p", "x", "-n", "1").err, "a random seed is printed")
    flags = run(*base, "-p", PROMPT, "-n", "24", "-ngl", "99", "-fa", "on", "-fmoe", "-mla", "3", "-rtr", "-amb", "512", "--mlock",
                "--no-mmap", "--numa", "distribute", "-ot", "exps=CPU", "--n-cpu-moe", "5", "-ctk", "f16", "-ctv", "f16",
                "--no_context_shift", "--prio", "2", "--jinja", "--no-warmup", "--color", "--parallel", "1", "-t", "-1", "--samplers",
                "top_k;top_p;temperature", "--dry-multiplier", "0")
    check(flags.code == 0 and flags.out == whole, "flags of other engines are accepted")
    for flag in ("-ngl", "-fa", "-fmoe", "-mla", "-rtr", "-amb", "--mlock", "--no-mmap", "--numa", "-ot", "--n-cpu-moe", "--no-context-shift", "--prio",
                 "--jinja", "--no-warmup", "--color", "--parallel", "--dry-multiplier"):
        check(sum(line.startswith(flag + ":") for line in flags.err.splitlines()) == 1, f"{flag} is answered in one line")


def check_streams():
    reader = subprocess.run(f"'{DODECA}' run -m '{DEMO}' -p x -n 60 --ignore-eos -q | head -c 3; exit ${{PIPESTATUS[0]}}", shell=True,
                            executable="/bin/bash", capture_output=True)
    check(reader.returncode == 0 and reader.stderr == b"", f"a reader that leaves is no error: {reader.stderr!r}")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([DODECA, "run", "-m", DEMO, "-p", "x", "-n", "2", "-q"], stdout=full, stderr=subprocess.PIPE)
    check(done.returncode == 1 and b"standard output" in done.stderr, "a full disk behind standard output is an error")
    for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen([DODECA, "run", "-m", DEMO, "-p", "x", "-n", "100000", "-c", "100000", "--ignore-eos"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(20)
        process.send_signal(stop)
        _, err = process.communicate(timeout=120)
        check(process.returncode == code and b"tokens/s" in err, f"{stop.name}: exit code {process.returncode}, want {code}")


def check_prompt_cache(folder):
    cache = os.path.join(folder, "prompt.cache")
    base = [DODECA, "run", "-m", DEMO, "-n", "12", "--temp", "0", "--prompt-cache"]
    plain = must(DODECA, "run", "-m", DEMO, "-n", "12", "--temp", "0", "-p", PROMPT).out
    check(must(*base, cache, "-p", PROMPT).out == plain, "saving changes nothing")
    again = must(*base, cache, "-p", PROMPT)
    check(again.out == plain and "were in the cache" in again.err, "restored, the text is the same")
    longer = must(*base, cache, "-p", PROMPT + " must be in want of a wife", "-q")
    check(longer.out == must(DODECA, "run", "-m", DEMO, "-n", "12", "--temp", "0", "-p", PROMPT + " must be in want of a wife").out,
          "a longer prompt goes on from it")
    must(*base, cache, "-p", PROMPT)
    with open(cache, "rb") as f:
        good = f.read()
    must(*base, cache, "-p", "Another prompt", "--prompt-cache-ro")
    with open(cache, "rb") as f:
        check(f.read() == good, "--prompt-cache-ro leaves the file as it is")
    for name, bad in (("cut", good[:len(good) // 2]), ("empty", b""), ("flipped", good[:700] + bytes([good[700] ^ 1]) + good[701:]),
                      ("longer", good + b"x")):
        with open(cache, "wb") as f:
            f.write(bad)
        done = run(*base, cache, "-p", PROMPT)
        check(done.code == 0 and done.out == plain and "prompt cache" in done.err, f"a cache that is {name} is said and not used")
        with open(cache, "rb") as f:
            check(f.read() == good, f"a cache that is {name} is replaced")
    for other in (["-ctk", "f32"], ["--compute", "f32"]):
        done = run(*base, cache, "-p", PROMPT, *other)
        check(done.code == 0 and "anew" in done.err, f"a cache made without {other} is not used with it")


with scratch() as folder:
    check_completion()
    check_threads()
    check_streams()
    check_drafts(folder)
    check_chat_through_a_pipe(folder)
    check_prompt_cache(folder)
finish("run")
