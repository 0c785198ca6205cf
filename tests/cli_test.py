#!/usr/bin/env python3
"""What a user meets at the command line: help, versions, exit codes, one sentence for every failure, results on standard output."""
import json
import os
import signal
import struct
import subprocess
import time

from program import BENCH, DEMO, DODECA, ROOT, check, finish, must, run, scratch

COMMANDS = ["run", "batch", "quantize", "ppl", "tokenize", "inspect", "plan"]


def check_help():
    for command in COMMANDS:
        done = run(DODECA, command, "--help")
        check(done.code == 0 and done.err == "", f"{command} --help: exit code {done.code}, {done.err!r}")
        check("Example" in done.out and f"dodeca {command}" in done.out, f"{command} --help has an example")
    for program, name in ((DODECA, "dodeca"), (BENCH, "dodeca-bench")):
        done = run(program, "--version")
        check(done.code == 0 and done.out.startswith(name + " "), f"{name} --version")
        check(all(word in done.out for word in ("commit", "compiler", "ISA", "libraries")), f"{name} --version is complete")
    for args in (["--help"], ["membw", "--help"]):
        done = run(BENCH, *args)
        check(done.code == 0 and "Example" in done.out, f"dodeca-bench {' '.join(args)}")
    check(run(DODECA, "--help").code == 0, "dodeca --help")


def check_usage_errors():
    def usage(args, *words, program=DODECA):
        done = run(program, *args)
        check(done.code == 2, f"{args}: exit code {done.code}, want 2")
        check(done.out == "", f"{args}: nothing on standard output")
        check(len(done.err.strip().splitlines()) == 1, f"{args}: one line, not {done.err!r}")
        for word in words:
            check(word in done.err, f"{args}: {word!r} in {done.err!r}")

    usage([], "command")
    usage(["rum"], "rum", "run")
    usage(["run", "--tmep", "0"], "--tmep", "--temp")
    usage(["run", "-m"], "-m")
    usage(["run", "-m", DEMO, "-n", "many"], "-n", "many")
    usage(["run", "-m", DEMO, "-p", "x", "-ctk", "f16", "-ctv", "q8_0"], "-ctv")
    usage(["ppl", "-m", DEMO, "-f", "x", "-t", "-2"], "-t")
    usage(["run", "-m", DEMO, "-p", "x", "--mirostat", "2"], "--mirostat 2", "--temp")
    usage(["run", "-m", DEMO, "-p", "x", "--samplers", "temperature;top_k"], "--samplers", "top_k")
    usage(["run", "-hf", "someone/DeepSeek-V3-GGUF:Q4_K_M", "-p", "x"], "-hf", "-m PATH")
    usage(["run", "-m", DEMO, "--frobnicate"], "--frobnicate")
    usage(["perplexity", "-m", DEMO], "perplexity", "ppl")
    usage(["quantize", DEMO, "out.gguf", "Q8_0", "--custom-q", "a=Q4_K"], "--custom-q", "--tensor-type")
    usage(["batch", "-m", DEMO, "-i", "-", "-o", "x.jsonl"], "-i -", "file")
    usage(["batch", "-m", DEMO, "-i", __file__, "-o", "-"], "-o -", "file")
    usage(["batch", "-m", DEMO, "-i", __file__, "-o", "x.jsonl", "--errors", "/dev/stderr"], "--errors", "file")
    usage(["imatrix", "-m", DEMO, "-f", __file__, "-o", "-"], "-o -", "file")
    usage(["quantize", DEMO, "-", "Q8_0"], "OUT.gguf", "file")
    usage(["quantize", DEMO], "OUT")
    usage(["plan"], "-m", "--shape")
    usage(["plan", "-m", DEMO, "--shape", "deepseek-v3"], "-m", "--shape")
    usage(["plan", "-m", DEMO, "--recipe", "ud-q2_k_xl"], "--recipe", "--shape")
    usage(["plan", "--shape", "deepseek-v3", "--recipe", "Q9_X"], "--recipe", "Q9_X")
    usage(["quantize", DEMO, "out.gguf", "Q9_X"], "Q9_X")
    usage(["--frobnicate"], "--frobnicate", program=BENCH)
    usage(["-m", DEMO, "-p", "5-"], "-p", program=BENCH)
    usage(["-m", DEMO, "-p", "8-4"], "-p", program=BENCH)
    usage(["-m", DEMO, "-pg", "5"], "-pg", program=BENCH)
    usage(["-m", DEMO, "-p", "0", "-n", "0"], "-p", program=BENCH)
    usage(["-m", DEMO, "-o", "xml"], "-o", program=BENCH)
    usage([], "-m", program=BENCH)


def check_failures(folder):
    def fails(args, *words, program=DODECA):
        done = run(program, *args)
        check(done.code == 1, f"{args}: exit code {done.code}, want 1: {done.err[-300:]!r}")
        check(done.out == "", f"{args}: nothing on standard output")
        for word in words:
            check(word in done.err, f"{args}: {word!r} in {done.err!r}")

    missing = os.path.join(folder, "missing.gguf")
    for args in (["run", "-p", "x"], ["ppl", "-f", __file__], ["tokenize", "-p", "x"]):
        fails([args[0], "-m", missing, *args[1:]], missing)
    fails(["inspect", missing], missing)
    fails(["-m", missing], missing, program=BENCH)

    not_a_model = os.path.join(folder, "text.gguf")
    with open(not_a_model, "w", encoding="ascii") as f:
        f.write("this is no model")
    fails(["inspect", not_a_model], not_a_model)

    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()

    other = os.path.join(folder, "other.gguf")
    with open(other, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("general.architecture") + struct.pack("<I", 8) + string("gemma3"))
    fails(["-m", other], "gemma3", "deepseek2", program=BENCH)
    check(run(DODECA, "inspect", other).code == 0, "inspect reads files of unknown architecture")

    for args in (["run", "-p", "x"], ["ppl", "-f", __file__], ["batch", "-i", __file__, "-o", os.path.join(folder, "out.jsonl")]):
        fails([args[0], "-m", other, *args[1:]], "gemma3", "deepseek2")
    fails(["run", "-m", folder, "-p", "x"], "config.json")
    for command in ("run", "ppl", "tokenize"):
        fails([command, "-m", DEMO, "-f", folder], folder, "directory")

    notes = os.path.join(folder, "notes.txt")
    with open(notes, "w", encoding="ascii") as f:
        f.write("not a cache")
    done = run(DODECA, "run", "-m", DEMO, "-p", "x", "-n", "1", "--prompt-cache", notes)
    check(done.code == 1 and notes in done.err, f"--prompt-cache on another file: {done.code}, {done.err[-300:]!r}")
    with open(notes, encoding="ascii") as f:
        check(f.read() == "not a cache", "--prompt-cache leaves another file as it is")

    wide = os.path.join(folder, "wide.txt")
    with open(wide, "wb") as f:
        f.write("It is a truth universally acknowledged".encode("utf-16"))
    for args in (["run", "-m", DEMO, "-f", wide], ["ppl", "-m", DEMO, "-f", wide], ["imatrix", "-m", DEMO, "-f", wide],
                 ["tokenize", "-m", DEMO, "-f", wide], ["tokenize", "-m", DEMO, "--chat", wide],
                 ["batch", "-m", DEMO, "-i", wide, "-o", os.path.join(folder, "wide.jsonl")]):
        fails(args, wide, "UTF-16", "iconv")
    marked = os.path.join(folder, "marked.txt")
    with open(marked, "wb") as f:
        f.write(b"\xef\xbb\xbfIt is\\n")
    check(run(DODECA, "tokenize", "-m", DEMO, "-f", marked, "--ids").out == run(DODECA, "tokenize", "-m", DEMO, "--no-escape", "-p", "It is\\n", "--ids").out,
          "a byte order mark is no text, and escapes are not read in files")

    fails(["run", "-m", DEMO, "-p", "word " * 400, "-c", "64", "-n", "4"], "context", "64")
    fails(["run", "-m", DEMO, "-f", os.path.join(folder, "no-such-prompt")], "no-such-prompt")
    fails(["quantize", DEMO, os.path.join(folder, "no", "such", "folder.gguf"), "Q8_0"], "no/such")


def check_streams(folder):
    for args in (["--help"], ["run", "--help"], ["--version"], ["tokenize", "-m", DEMO, "-p", "x"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([DODECA, *args], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        check(done.returncode == 1 and b"standard output" in done.stderr, f"{args} to a full disk: exit code {done.returncode}")
    pipe = os.path.join(folder, "pipe")
    os.mkfifo(pipe)
    with subprocess.Popen([DODECA, "tokenize", "-m", DEMO, "-f", pipe, "--show-count"], stdout=subprocess.PIPE) as reader:
        with open(pipe, "w", encoding="ascii") as f:
            f.write("It is a truth")
        check(b"Total number of tokens: 5" in reader.communicate(timeout=60)[0], "a text from a pipe with a name")
    for args in (["tokenize", "-m", DEMO, "--stdin"], ["ppl", "-m", DEMO, "-f", "-"], ["run", "-m", DEMO]):
        for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with subprocess.Popen([DODECA, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
                waiting.stdin.write(b"It is")
                waiting.stdin.flush()
                wait_until_blocked(waiting.pid)
                waiting.send_signal(stop)
                check(waiting.wait(60) == code, f"{args} stopped while it waits for its text: {waiting.returncode}")


def wait_until_blocked(pid):
    """Until the process has slept for a while: it waits for its standard input."""
    asleep = 0
    for _ in range(600):
        time.sleep(0.05)
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            asleep = asleep + 1 if f.read().rsplit(")", 1)[1].split()[0] == "S" else 0
        if asleep == 6:
            return
    check(False, "the process waits for its standard input")


def check_plan(gguf, facts):
    plan = json.loads(must(DODECA, "plan", "-m", gguf, "--json").out)
    blocks = plan["blocks"]
    check(blocks[0]["name"] == "embedding" and blocks[-1]["name"] == "output head", "plan: from the embedding to the head")
    check(sum(b["bytes"] for b in blocks) == plan["memory"]["weights"], "plan: the blocks' bytes are the weights'")
    check(abs(sum(b["bytes_per_token"] for b in blocks) - plan["bytes_per_token"]) < 1, "plan: so are those of a token")
    check(abs(plan["bytes_per_token"] / facts["bytes_per_token"] - 1) < 0.03, "plan reads what inspect says")
    text = must(DODECA, "plan", "-m", gguf, "-v", env={"DODECA_ISA": "scalar"}).out
    check("blk.0.attn_output.weight" in text and "gemv_q4_k_avx2 needs avx2, have scalar" in text,
          "plan -v: weights, kernels and why a faster one does not run")
    whole = must(DODECA, "plan", "--shape", "deepseek-v3", "-c", "32768", "-t", "64").out
    check("64 threads" in whole and "32768 positions" in whole and "3-60" in whole, f"plan --shape: {whole}")
    check("KiB" in must(DODECA, "plan", "-m", DEMO, "--compute", "f32").out, "plan of a directory")


def check_work(folder):
    gguf = os.path.join(folder, "dynamic.gguf")
    must(DODECA, "quantize", DEMO, gguf, "--recipe", "ud-q2_k_xl")
    check(not [n for n in os.listdir(folder) if n.startswith("dynamic") and n != "dynamic.gguf"], "no temporary file is left")
    facts = json.loads(must(DODECA, "inspect", gguf, "--json").out)
    check(facts["file_bytes"] == os.path.getsize(gguf), "inspect --json: the size of the file")

    check_plan(gguf, facts)
    dumps = [os.path.join(folder, name) for name in ("scalar.txt", "vector.txt")]
    for path, level in zip(dumps, ("scalar", "")):
        must(DODECA, "run", "-m", gguf, "-p", "It is", "-n", "2", "--temp", "0", "--dump-layers", path, env={"DODECA_ISA": level})
    lines = [open(path, encoding="utf-8").read().splitlines() for path in dumps]
    check(lines[0] == lines[1] and "layer 0 attention: 3 rows, bits " in lines[0][1],
          f"--dump-layers: the same lines at every level: {lines[0][:2]}, {lines[1][:2]}")

    for extra, count in (([], 5), (["--override-kv", "tokenizer.ggml.add_bos_token=bool:false"], 4)):
        done = must(DODECA, "run", "-m", gguf, "-p", "It is a truth", "-n", "1", "--temp", "0", *extra)
        check(f"prompt: {count} tokens" in done.err, f"--override-kv reaches the vocabulary: {done.err[-200:]!r}")

    prompt = "It is a truth universally acknowledged"
    greedy = [DODECA, "run", "-m", gguf, "-p", prompt, "-n", "16", "--temp", "0"]
    first = must(*greedy)
    check(prompt in first.out and len(first.out.split()) > len(prompt.split()), "run completes the text")
    check(must(*greedy, "-t", "1").out == first.out, "the text does not depend on -t")
    check(must(*greedy, "-b", "3", "-ub", "2").out == first.out, "the text does not depend on -b and -ub")
    sampled = [DODECA, "run", "-m", gguf, "-p", prompt, "-n", "16", "--seed", "7"]
    check(must(*sampled).out == must(*sampled).out, "the same seed gives the same text")
    check(must(DODECA, "run", "-m", gguf, "-f", "-", "-n", "16", "--temp", "0", stdin=prompt.encode()).out == first.out,
          "a prompt from standard input")
    check(prompt not in must(*greedy, "--no-display-prompt").out, "--no-display-prompt")
    scalar = must(*greedy, env={"DODECA_ISA": "scalar"})
    check(scalar.out == first.out, f"DODECA_ISA=scalar gives the same text: {scalar.out!r}, {first.out!r}")

    rows = json.loads(must(BENCH, "-m", gguf, "-p", "8,16", "-n", "4", "-pg", "8,2", "-r", "2", "-o", "json", "-q").out)
    check([(r["n_prompt"], r["n_gen"]) for r in rows] == [(8, 0), (16, 0), (0, 4), (8, 2)], "bench: all tests in order")
    for row in rows:
        check(list(row)[:5] == ["build_commit", "build_number", "cpu_info", "gpu_info", "backends"], "bench: llama-bench's fields")
        check(len(row["samples_ns"]) == 2 and row["avg_ts"] > 0, "bench: samples")
    check(rows[2]["membw_percent"] > 0, "bench: share of the bandwidth")
    check(0 <= rows[2]["bytes_per_token"] / facts["bytes_per_token"] - 1 < 0.03,
          "bench reads what inspect says, and a little cache")
    table = must(BENCH, "-m", gguf, "-p", "8", "-n", "2", "-r", "1", "-q").out.splitlines()
    check(table[0].startswith("| model                          |       size |     params | backend    | threads |"),
          "bench: the table's head")
    check(table[2].rstrip(" |").count("|") == 7 and "pp8" in table[2] and "tg2" in table[3], "bench: the table's rows")
    check(any(line.startswith("build: ") for line in table), "bench: the build line")
    check(any("of the bandwidth limit" in line for line in table), "bench: the share of the bandwidth")


with scratch() as folder:
    check_help()
    check_usage_errors()
    check_failures(folder)
    check_streams(folder)
    check_work(folder)
finish("command line")
