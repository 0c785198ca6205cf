#!/usr/bin/env python3
"""dodeca batch on the demo: texts as `run` gives them, signals, refusals, and two processes on one output."""
import json
import os
import signal
import subprocess
import time

from program import DEMO, DODECA, check, finish, must, run, scratch

OPENINGS = ["It is a truth universally acknowledged", "Emma Woodhouse, handsome, clever, and rich,", "The family of Dashwood"]


def line(custom_id, body, url="/v1/completions"):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}) + "\n"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def results(path):
    with open(path, encoding="utf-8") as f:
        parsed = [json.loads(text) for text in f]
    check(len({r["custom_id"] for r in parsed}) == len(parsed), "every custom_id once")
    return {r["custom_id"]: r["response"]["body"] for r in parsed}


with scratch() as folder:
    requests, output = os.path.join(folder, "requests.jsonl"), os.path.join(folder, "results.jsonl")
    errors = os.path.join(folder, "results.errors.jsonl")
    base = [DODECA, "batch", "-m", DEMO, "-i", requests, "-o", output, "-c", "300", "--temp", "0"]

    def clean():
        for name in os.listdir(folder):
            if name.startswith("results"):
                os.remove(os.path.join(folder, name))

    text = "".join(line(f"p{n}", {"prompt": opening, "max_tokens": 12}) for n, opening in enumerate(OPENINGS))
    system = {"role": "system", "content": "You write of village life, of marriage and of money, and of nothing else in the world."}
    text += "".join(line(f"c{n}", {"messages": [system, {"role": "user", "content": f"Person {n}?"}], "max_tokens": 8, "logprobs": True,
                                   "top_logprobs": 2}, "/v1/chat/completions") for n in range(5))
    write(requests, text + line("long", {"prompt": "word " * 2000}) + line("tools", {"prompt": "x", "tools": [1]}) + "{broken\n")
    done = run(*base, "--parallel", "3")
    check(done.out == "", "nothing on standard output")
    check(done.code == 1 and "3 of 11 requests were refused" in done.err and "--allow-errors" in done.err,
          f"refused lines end with exit code 1 and their count: {done.code}, {done.err[-300:]!r}")
    first = results(output)
    check(sorted(first) == sorted([f"p{n}" for n in range(3)] + [f"c{n}" for n in range(5)]), f"all that can be answered is: {sorted(first)}")
    for n, opening in enumerate(OPENINGS):
        expected = must(DODECA, "run", "-m", DEMO, "-p", opening, "-n", "12", "--temp", "0", "-q", "--no-display-prompt").out
        check(first[f"p{n}"]["choices"][0]["text"].strip("\n") == expected.strip("\n"), f"p{n} is what run gives")
    for n in range(5):
        entry = first[f"c{n}"]["choices"][0]["logprobs"]["content"][0]
        check(len(entry["top_logprobs"]) == 2 and entry["top_logprobs"][0]["logprob"] == entry["logprob"] <= 0, "greedy logprobs")
    with open(errors, encoding="utf-8") as f:
        refused = [json.loads(text) for text in f]
    check(len(refused) == 3, f"three refusals, not {len(refused)}")
    check({r["response"]["status_code"] for r in refused if r["response"]} == {400}, "refusals are 400")
    check([r["error"]["line"] for r in refused if r["error"]] == [11], "the malformed line is named")
    again = run(*base, "-q")
    check(again.code == 1 and "3 of 11 requests were refused" in again.err, "those of an earlier run count")
    check("nothing left to do" in must(*base, "--allow-errors").err, "the same command again has nothing to do")
    other = run(*base, "-ctk", "f32")
    check(other.code == 1 and "option" in other.err and "--restart" in other.err, "options that change the numbers are refused")

    clean()
    must(*base, "--parallel", "1", "--allow-errors")
    alone = results(output)
    check({k: v["choices"] for k, v in alone.items()} == {k: v["choices"] for k, v in first.items()}, "--parallel changes no result")

    write(requests, text)
    changed = run(*base)
    check(changed.code == 1 and "changed" in changed.err and "--restart" in changed.err, "a changed input is refused")
    must(*base, "--restart")
    check(len(results(output)) == 8, "--restart begins anew")

    clean()
    write(requests, line("text", {"prompt": OPENINGS[0], "max_tokens": 2.0}) +
          line("chat", {"messages": [{"role": "user", "content": "Who?", "name": "Ann"}], "max_tokens": 2, "service_tier": "auto"},
               "/v1/chat/completions"))
    bad = os.path.join(folder, "bad.jinja")
    write(bad, "{% for")
    must(*base, "-q")
    check(sorted(results(output)) == ["chat", "text"], "what asks for nothing is accepted")
    clean()
    broken = os.path.join(folder, "broken")
    os.mkdir(broken)
    for name in os.listdir(DEMO):
        if name != "chat_template.jinja":
            os.symlink(os.path.join(DEMO, name), os.path.join(broken, name))
    write(os.path.join(broken, "chat_template.jinja"), "{% for")
    done = run(*base[:3], broken, *base[4:], "-q")
    check(done.code == 1 and sorted(results(output)) == ["text"], f"a template that cannot be read refuses the chats alone: {done.err!r}")
    clean()
    done = run(*base, "--chat-template-file", bad)
    check(done.code == 1 and "template" in done.err and not os.path.exists(output), f"a bad --chat-template-file ends at once: {done.err!r}")

    clean()
    write(requests, line("a", {"prompt": "x"}) + line("b", {"prompt": "y"}) + line("a", {"prompt": "z"}))
    twice = run(*base)
    check(twice.code == 1 and "'a' on lines 1, 3" in twice.err and not os.path.exists(output), f"a custom_id twice: {twice.err!r}")

    write(requests, "".join(line(f"r{n}", {"prompt": OPENINGS[n % 3], "max_tokens": 150 if n else 4}) for n in range(8)))
    must(*base, "-q")
    reference = results(output)
    for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        clean()
        process = subprocess.Popen([*base, "--parallel", "2"], stderr=subprocess.PIPE)
        end = time.monotonic() + 200
        while (not os.path.exists(output) or os.path.getsize(output) == 0) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.01)
        other = run(*base)
        check(other.code == 1 and "another process" in other.err, f"a second process is refused: {other.err!r}")
        process.send_signal(stop)
        _, err = process.communicate(timeout=200)
        check(process.returncode == code, f"{stop.name}: exit code {process.returncode}, want {code}")
        check(b"the same command resumes" in err, f"{stop.name} says how to go on")
        with open(output, "rb") as f:
            left = f.read()
        check(left.endswith(b"\n") and 0 < left.count(b"\n") < 8, "what was complete is there, whole")
        must(*base)
        check({k: v["choices"] for k, v in results(output).items()} == {k: v["choices"] for k, v in reference.items()},
              "the same command ends with the same results")
finish("batch")
