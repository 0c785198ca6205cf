#!/usr/bin/env python3
"""Programs with a part of the model on the emulated card: the same text as without, and clear words where it does not fit."""
import json
import os
import re
import tempfile

from program import BENCH, DEMO, DODECA, ROOT, check, finish, run

CARD = ["--gpu", "emulation"]
folder = tempfile.TemporaryDirectory(prefix="dodeca-test-")
here = lambda name: os.path.join(folder.name, name)

with open(os.path.join(ROOT, "bench", "demo", "valid.txt"), encoding="utf-8") as file:
    words = file.read().split()

# ---- the greedy text of 50 prompts, in a batch -------------------------------------------------------------------------
with open(here("requests.jsonl"), "w", encoding="utf-8") as file:
    for i in range(50):
        at = i * len(words) // 50
        body = {"prompt": " ".join(words[at:at + 5]), "max_tokens": 4, "temperature": 0}
        file.write(json.dumps({"custom_id": f"r{i}", "method": "POST", "url": "/v1/completions", "body": body}) + "\n")


def answers(name, *args):
    done = run(DODECA, "batch", "-m", DEMO, "-i", here("requests.jsonl"), "-o", here(name), "--parallel", "4", *args)
    check(done.code == 0, f"batch {' '.join(args)} ends with 0: {done.err[-300:]}")
    with open(here(name), encoding="utf-8") as lines:
        results = [json.loads(line) for line in lines]
    return {r["custom_id"]: r["response"]["body"]["choices"][0]["text"] for r in results}


processors = answers("cpu.jsonl")
check(processors == answers("card.jsonl", *CARD, "--cpu-moe"), "50 prompts have the same greedy text")
check(processors == answers("hot.jsonl", *CARD, "--hot-experts", "auto"), "and with experts that come to the card")

# ---- experts that stream to the card ------------------------------------------------------------------------------------
SPEEDS = {"dodeca_stream_speeds": 1, "machine": "any", "types": "any", "link_gb_s": 20, "device_gb_s": 500, "device_gmac_s": 50000,
          "host_gb_s": 50, "host_gmac_s": 40}


def speeds(name, **changes):
    with open(here(name), "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in {**SPEEDS, **changes}.items() if value is not None}, file)
    return here(name)


with open(here("prompt.txt"), "w", encoding="utf-8") as file:
    file.write(" ".join(words[:150]))
PROMPT = ["run", "-m", DEMO, "-f", here("prompt.txt"), "-n", "8", "--temp", "0", "-v"]
alone = run(DODECA, *PROMPT, *CARD, "--cpu-moe")
streamed = run(DODECA, *PROMPT, *CARD, "--cpu-moe", "--stream-experts", speeds("speeds.json"))
check(streamed.code == 0 and streamed.out == alone.out, f"streamed experts give the same greedy text: {streamed.err[-300:]}")
check(re.search(r"experts of \d layers stream to the card in passes of \d+ rows and more", streamed.err) is not None,
      f"streaming is said: {streamed.err[-800:]}")
check("stream to the card" not in alone.err, f"an emulated card does not stream by itself: {alone.err[-500:]}")
slow = run(DODECA, *PROMPT, *CARD, "--cpu-moe", "--stream-experts", speeds("slow.json", link_gb_s=0.001))
check(slow.code == 0 and "layers do not stream to the device: passes of" in slow.err, f"a slow link: {slow.err[-500:]}")
for name, changes, said in (("none.json", {"link_gb_s": None}, "link_gb_s"), ("zero.json", {"host_gb_s": 0}, "host_gb_s"),
                            ("text.json", {"device_gb_s": "fast"}, "device_gb_s"), ("old.json", {"dodeca_stream_speeds": 2}, "version 2"),
                            ("more.json", {"color": 1}, "color")):
    done = run(DODECA, *PROMPT, *CARD, "--stream-experts", speeds(name, **changes))
    check(done.code == 1 and said in done.err and name in done.err, f"{name}: {done.code} {done.err[-300:]}")
done = run(DODECA, *PROMPT, *CARD, "--stream-experts", here("nowhere.json"))
check(done.code == 1 and "nowhere.json" in done.err, f"no such file: {done.err[-300:]}")

# ---- a card that is lost in the middle of a batch ----------------------------------------------------------------------
lost = ["batch", "-m", DEMO, "-i", here("requests.jsonl"), "-o", here("lost.jsonl"), "--parallel", "4", *CARD, "--cpu-moe"]
done = run(DODECA, *lost, env={"DODECA_EMULATION_LOST_AT": "1500"})
check(done.code == 1 and "the emulated device was lost in kernel" in done.err.strip().splitlines()[-1],
      f"a lost device is one sentence: {done.code} {done.err[-300:]}")
before = open(here("lost.jsonl"), encoding="utf-8").read().splitlines() if os.path.exists(here("lost.jsonl")) else []
check(0 < len(before) < 50, f"it was lost before the end: {len(before)} answers")
check(run(DODECA, *lost[:-3]).code == 0, "the batch goes on, on the processors")
ids = [json.loads(line)["custom_id"] for line in open(here("lost.jsonl"), encoding="utf-8")]
check(sorted(ids) == sorted(f"r{i}" for i in range(50)), "every request is answered once")

# ---- perplexity --------------------------------------------------------------------------------------------------------
with open(here("text.txt"), "w", encoding="utf-8") as file:
    file.write(" ".join(words[:120]))


def perplexity(*args):
    done = run(DODECA, "ppl", "-m", DEMO, "-f", here("text.txt"), "-c", "64", *args)
    found = re.search(r"PPL = ([0-9.]+)", done.out + done.err)
    check(done.code == 0 and found is not None, f"ppl {' '.join(args)}: {done.err[-300:]}")
    return float(found[1]) if found else 0.0


cpu, card = perplexity(), perplexity(*CARD, "--cpu-moe")
check(abs(card / cpu - 1) < 1e-3, f"perplexity {card} is within 0.1 % of {cpu}")

# ---- what runs where ---------------------------------------------------------------------------------------------------
GENERATE = ["run", "-m", DEMO, "-p", "It is a truth universally acknowledged", "-n", "4", "--temp", "0"]
text = run(DODECA, *GENERATE).out
for args, said in (([], "attention of 6 layers"), (["-ngl", "3"], "attention of 2 layers"), (["-ngl", "0"], "nothing runs there"),
                   (["-ot", "exps=CPU,attn=CPU"], "attention of 0 layers"), (["-ncmoe", "4"], "experts of 2"),
                   (["--vram", "16MiB", "--cpu-moe"], "a pass on the device has "),
                   (["--hot-experts", "auto", "-ncmoe", "4"], "in each of 3 ")):
    done = run(DODECA, *GENERATE, *CARD, *args)
    check(done.code == 0 and done.out == text, f"{args}: the same text: {done.out!r} {done.err[-300:]}")
    check(said in done.err, f"{args}: '{said}' is said: {done.err[-500:]}")

done = run(DODECA, *GENERATE, *CARD, "--cpu-moe", "--defer-experts", "1")
check(done.code == 0 and "are added one layer later" in done.err, f"late experts: {done.err[-300:]}")

# ---- each side alone ---------------------------------------------------------------------------------------------------
done = run(BENCH, "-m", DEMO, "-p", "0", "-n", "3", "-r", "1", "-o", "json", "-oe", "md", "--no-membw", *CARD, "--hot-experts", "auto")
result = json.loads(done.out)[0]
check(0 < result["device_ns"] <= result["hybrid_limit_ns"] <= result["device_ns"] + result["experts_ns"] and
      0 <= result["hot_experts_percent"] <= 100, f"a card and processors, each alone: {result}")
check("of that rate reached" in done.err and "of the chosen experts were on the card" in done.err, f"both are said: {done.err[-500:]}")

done = run(BENCH, "-m", DEMO, "-p", "0", "-n", "2", "-r", "1", "--no-membw", *CARD, "--cpu-moe")
check(done.code == 0 and ", experts of" not in done.err and "the experts alone" in done.out,
      f"the bench keeps experts in memory too: {done.out[-300:]} {done.err[-300:]}")
for args in (["--hot-experts", "auto"], ["--defer-experts", "1"], ["--vram", "1GiB"]):
    done = run(BENCH, "-m", DEMO, *args)
    check(done.code == 2 and "goes with --gpu" in done.err, f"{args[0]} asks for a card: {done.err[-200:]}")

# ---- the prompt's cache goes through the card --------------------------------------------------------------------------
for turn in range(2):
    done = run(DODECA, *GENERATE, *CARD, "--cpu-moe", "--prompt-cache", here("cache"))
    check(done.code == 0 and done.out == text, f"turn {turn}: text from the saved cache")
    check("anew" not in done.err, f"the saved cache is taken: {done.err[-300:]}")

# ---- what does not fit, or is not there --------------------------------------------------------------------------------
done = run(DODECA, *GENERATE, *CARD, "-ngl", "7", "--vram", "4MiB")
check(done.code == 1 and "GiB" in done.err and "-ngl" in done.err, f"too small a card: {done.err[-400:]}")
done = run(DODECA, *GENERATE, "--gpu", "99")
check(done.code == 1 and len(done.err.strip().splitlines()) == 1, f"a card that is not there: one line: {done.err}")
done = run(DODECA, *GENERATE, "--gpu", "cuda")
check(done.code == 2, "a card has a number")
done = run(DODECA, *GENERATE, *CARD, "--hot-experts", "yes")
check(done.code == 2 and "auto or off" in done.err, f"hot experts are auto or off: {done.err[-200:]}")
done = run(DODECA, *GENERATE, *CARD, "-ot", "exps")
check(done.code == 2 and "REGEX=PLACE" in done.err, "a rule has a place")
done = run(DODECA, *GENERATE, *CARD, "-ot", "(=CPU")
check(done.code == 1 and "regular expression" in done.err, f"a rule is an expression: {done.err[-200:]}")
done = run(DODECA, "imatrix", "-m", DEMO, "-f", here("text.txt"), "-c", "32", "-o", here("im.gguf"), *CARD)
check(done.code == 1 and "processors" in done.err, "imatrix needs all blocks on the processors")

# ---- plan --------------------------------------------------------------------------------------------------------------
done = run(DODECA, "plan", "--shape", "deepseek-v3", "-c", "32768", "--json", *CARD)
device = json.loads(done.out)["device"]
check(device["attention_layers"] == 61 and device["weights"] + device["experts"] + device["cache"] + device["work_space"]
      <= device["usable_bytes"], f"V3 on 24 GiB: {device}")
folder.cleanup()
finish("device")
