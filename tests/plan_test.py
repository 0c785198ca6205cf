#!/usr/bin/env python3
"""dodeca plan for machines that are not here: the catalogue, files, comparison, plot, back-test, and what is refused."""
import json
import os
import re
import time
import xml.dom.minidom

from program import BENCH, DEMO, DODECA, check, finish, must, read, run, scratch

V3 = ["--shape", "deepseek-v3", "--recipe", "ud-q2_k_xl"]


def plan(*args):
    return json.loads(must(DODECA, "plan", *args, "--json").out)


def check_usage():
    def refused(args, code, *words):
        done = run(DODECA, "plan", *args)
        check(done.code == code and done.out == "", f"{args}: exit code {done.code}, {done.out[:200]!r}")
        for word in words:
            check(word in done.err, f"{args}: {word!r} in {done.err!r}")

    refused([*V3, "--machine", "epyc-1"], 1, "no machine is called 'epyc-1'", "epyc-9554", "xeon-6980p")
    refused([*V3, "--machine", "epyc-9554:nps0"], 1, "':nps0'", "npsN")
    refused([*V3, "--machine", "epyc-9554", "--gpu", "rtx-1"], 1, "no card is called 'rtx-1'", "rtx-4090")
    refused([*V3, "--machine", "epyc-9554", "--gpu", "0"], 2, "--gpu", "rtx-4090")
    refused([*V3, "--gpu", "rtx-4090"], 2, "--gpu rtx-4090", "--machine")
    refused([*V3, "--machine", "epyc-9554", "--compare", "epyc-9654"], 2, "--compare")
    refused([*V3, "--plot", "a.svg"], 2, "--plot")
    refused([*V3, "--machine", "epyc-9554", "--isa", "avx2"], 2, "--isa")
    refused([*V3, "--machine", "epyc-9554", "--compute", "f32"], 2, "--compute f32")
    for flags in (["--vram", "24GiB"], ["--cpu-moe"], ["--hot-experts", "auto"], ["--defer-experts", "2"]):
        refused([*V3, "--machine", "epyc-9554", *flags], 2, flags[0], "--gpu")
    refused([*V3, "--machine", "epyc-9554", "--simulate"], 2, "--simulate", "--gpu NAME")
    refused([*V3, "--machine", "epyc-9554", "--gpu", "rtx-4090", "--simulate", "-p", "0"], 2, "-p")
    refused([*V3, "--machine", "epyc-9554", "--numa", "on"], 2, "--numa", "auto", "off")
    refused([*V3, "--machine", "epyc-9554", "--numa", "nodes=0"], 2, "--numa nodes=0", "interleave")
    check(plan(*V3, "--numa", "parts=3")["blocks"][1]["parts"] == 3, "parts of a plan for this machine")
    refused([*V3, "--machine", "epyc-9554", "--hot-hits", "published"], 2, "--hot-hits", "--hot-experts auto")
    refused([*V3, "--machine", "epyc-9554", "--gpu", "rtx-4090", "--hot-experts", "auto", "--hot-hits", "2"], 2, "'2'", "from 0 to 1")
    refused(["--backtest", "--machine", "epyc-9554"], 2, "--backtest")
    refused(["--backtest", "--plot", "a.svg"], 2, "--backtest")
    refused([*V3, "--machine", "epyc-9554", "-t", "65"], 1, "65 threads", "AMD EPYC 9554 has 64 cores")
    refused([*V3, "--machine", "none.json"], 1, "none.json")
    refused(["--machine", "epyc-9554"], 2, "-m FILE or --shape NAME")
    help_text = must(DODECA, "plan", "--help").out
    check("epyc-9554" in help_text and "rtx-4090" in help_text and "--backtest" in help_text, "the help lists the catalogue")


def check_prediction():
    begin = time.time()
    page = plan(*V3, "--machine", "epyc-9554:ram384")
    seconds = time.time() - begin
    check(seconds < 5, f"a prediction takes under a second on a free machine, not {seconds:.1f}")
    p = page["prediction"]
    check(p["kind"] == "computed" and p["threads"] == 64, f"{p['kind']}, {p['threads']}")
    check([d["depth"] for d in p["depths"]] == [0, 4096, 16384, 32768], "four depths")
    speeds = [d["tokens_per_s"] for d in p["depths"]]
    check(speeds == sorted(speeds, reverse=True) and 15 < speeds[0] < 22, f"tokens per second: {speeds}")
    first = p["depths"][0]
    check(abs(sum(first["step"].values()) - first["step_ms"]) < 1e-6, "the terms are the step")
    check(abs(first["bytes"] / page["bytes_per_token"] - 1) < 0.01, "the bytes of a token are the plan's")
    check(first["bound"] == "node_bandwidth" and p["depths"][3]["prompt_bound"] == "attention", "what binds")
    rates = [row["prompt_tokens_per_s"] for row in p["passes"]]
    check([row["rows"] for row in p["passes"]] == [512, 1024, 2048, 4096] and rates[0] < rates[2], f"larger passes: {rates}")
    check(p["fits"] is True and "fits" in p["fit"], p["fit"])
    clock = p["machine"]["clock_ghz"]
    check(clock["evidence"] == "assumed" and clock["source"], f"every figure says where it comes from: {clock}")
    check(page["machine"]["cores"] == 64 and page["isa"] == "avx512_bf16", "the plan is that machine's")

    text = must(DODECA, "plan", *V3, "--machine", "epyc-9554", "-v", "-q").out
    for word in ("computed, not measured", "64 threads", "node bandwidth", "gate, up", "figures:", "assumed:", "of how much is not stated"):
        check(word in text, f"{word!r} is in the text")
    small = plan(*V3, "--machine", "epyc-9554:ram200")["prediction"]
    check(small["fits"] is False and "does not fit by" in small["fit"] and small["advice"], f"too small: {small['fit']}")
    shares = plan(*V3, "--recipe", "ud-q2_k_xl", "--parallel", "256", "-c", "512", "--machine", "epyc-9554:ram241")["prediction"]
    check("-ctk q8_0 halves the cache" in shares["advice"] and "-c 0 fits" not in shares["advice"], f"no context of 0: {shares['advice']}")
    check("275 GB/s read, as asked for" in must(DODECA, "plan", *V3, "--machine", "epyc-9965:read275", "-q").out, "what nobody measured")
    less = plan(*V3, "--machine", "epyc-9554", "-t", "16")["prediction"]
    check(less["threads"] == 16 and less["depths"][0]["tokens_per_s"] < speeds[0], "fewer threads")
    for n, accepted in ((1, 0.85), (1, 0), (2, 1)):
        first = plan(*V3, "--machine", "epyc-9554", "--mtp", str(n), "--mtp-accept", str(accepted))["prediction"]["depths"][0]
        d = first["drafted"]
        expected = 1 + sum(accepted ** i for i in range(1, n + 1))
        check(abs(d["tokens_per_step"] - expected) < 1e-9 and d["drafts"] == n, f"{n} drafts, {accepted} right")
        check(first["step_ms"] < d["verify_ms"] < 2 * first["step_ms"] and 0 < d["draft_ms"] < 0.3 * first["step_ms"], "a step with drafts takes longer")
        check(abs(d["tokens_per_s"] * (d["verify_ms"] + d["draft_ms"]) / 1e3 - expected) < 1e-6, "tokens of a step over its time")
    check(plan(*V3, "--machine", "epyc-9554")["prediction"]["depths"][0]["drafted"] is None, "a shape drafts where it is asked to")
    check("drafts, 1 a step" in must(DODECA, "plan", *V3, "--machine", "epyc-9554", "--mtp", "auto", "-q").out, "drafts in words")
    check(run(DODECA, "plan", "--shape", "kimi-k2", "--machine", "epyc-9554", "--mtp", "1").code == 1, "no layer that drafts")
    many = plan(*V3, "--machine", "epyc-9554", "--parallel", "8")["prediction"]
    check(many["depths"][0]["tokens_per_s"] > 1.5 * speeds[0], "sequences together")
    two = plan(*V3, "--machine", "2xepyc-9554")["prediction"]
    first, alone, whole = two["depths"][0], two["one_socket"], two["interleaved"]
    check(two["parts"] == 2 and first["tokens_per_s"] > 1.6 * alone["tokens_per_s"], f"two sockets by parts: {first['tokens_per_s']}, {alone}")
    check(abs(alone["tokens_per_s"] - speeds[0]) < 1e-9, "one socket is the machine of one socket")
    check(first["step"]["exchanges"] > 0 and any("Nobody has measured parts" in note for note in two["notes"]), "exchanges, and a note")
    off = plan(*V3, "--machine", "2xepyc-9554", "--numa", "interleave")["prediction"]
    check(off["parts"] == 1 and off["interleaved"] is None and off["depths"][0]["tokens_per_s"] == whole["tokens_per_s"], "--numa interleave")
    check("exchanges" not in off["depths"][0]["step"] and any("interleaved" in note for note in off["notes"]), f"{off['notes']}")
    few = plan(*V3, "--machine", "2xepyc-9554:nps4", "-t", "7")["prediction"]
    check(few["parts"] == 1, "fewer threads than nodes: one part")
    roomy = plan(*V3, "--machine", "2xepyc-9554:ram768")["prediction"]
    tight = plan(*V3, "--machine", "2xepyc-9554:ram241.6")["prediction"]
    check("copy of the cache on each of 2 nodes" in roomy["fit"] and tight["fits"] and "one copy of the cache" in tight["fit"], f"{tight['fit']}")
    text = must(DODECA, "plan", *V3, "--machine", "2xepyc-9554", "-q").out
    check("2 parts, one on each memory node; interleaved (--numa interleave): " in text and "one socket: " in text, f"the gain is shown: {text}")
    watts = p["energy"]
    check(watts["kind"] == "estimate from TDP" and watts["sockets_watts"] == 360 and watts["memory_watts"] == 60, f"energy: {watts}")
    check(abs(watts["joules_per_token"] - 420 / speeds[0]) < 1e-9 and "losses" in watts["without"], f"energy: {watts}")
    check(p["machine"]["tdp_watts"]["source"] and "energy, estimate from TDP: " in text and "power supply" in text, "energy in the text")
    demo = plan("-m", DEMO, "--machine", "epyc-9554")["prediction"]
    check(demo["depths"][0]["tokens_per_s"] > 100, "a directory's header is enough")


def check_card():
    page = plan(*V3, "--machine", "epyc-9554", "--gpu", "rtx4090", "-c", "32768")
    p = page["prediction"]
    check(page["device"]["attention_layers"] == 61 and p["card"]["name"] == "rtx-4090", "the card takes attention")
    alone = plan(*V3, "--machine", "epyc-9554")["prediction"]
    check(p["depths"][0]["tokens_per_s"] > 1.2 * alone["depths"][0]["tokens_per_s"], "a card helps")
    check(any("card" in note for note in p["notes"]), "and nobody measured it")
    check(p["card"]["link_gb_s"]["evidence"] and p["card"]["link_gb_s"]["source"], "a card's figures say where they come from")
    text = must(DODECA, "plan", *V3, "--machine", "epyc-9554", "--gpu", "rtx-4090", "-v", "-q").out
    check("figures of the card:" in text and "GiB of memory" in text, "also as text")
    check(p["energy"]["card_watts"] == 450 and p["energy"]["contains"] == "sockets, memory, card", f"energy: {p['energy']}")
    on_card = [*V3, "--machine", "epyc-9554", "--gpu", "rtx-4090"]
    speed = lambda *args: plan(*on_card, *args)["prediction"]["depths"][0]["tokens_per_s"]
    none, uniform, published = speed("--cpu-moe"), speed("--hot-experts", "auto"), speed("--hot-experts", "auto", "--hot-hits", "published")
    check(none < uniform < published < speed("--hot-experts", "auto", "--hot-hits", "0.5"), f"hot experts: {none}, {uniform}, {published}")
    notes = plan(*on_card, "--hot-experts", "auto")["prediction"]["notes"]
    check(any("as if all experts were used alike" in note for note in notes), f"the assumption is stated: {notes}")
    late = plan(*on_card, "--defer-experts", "2")["prediction"]
    check(late["depths"][0]["tokens_per_s"] > speed() and any("one layer later" in note for note in late["notes"]), "late experts hide")
    device = plan(*on_card)["device"]
    parts = sum(device[part] for part in ("weights", "experts", "hot_experts", "stream_buffers", "cache", "work_space"))
    check(device["streamed_layers"] > 50 and 1 << 30 < device["stream_buffers"] < 3 << 30 and parts <= device["usable_bytes"],
          f"what streams: {device}")
    simulated = plan(*on_card, "--simulate", "-p", "4096")["simulation"]
    fastest = max(p["tokens_per_s"] for p in simulated["prompts"] if p["depth"] == 0)
    check(simulated["prompt_tokens"] == 4096 and {p["rows_per_pass"] for p in simulated["prompts"]} >= {256, 512, 2048, 4096}, "-ub")
    check(fastest > 1.5 * simulated["without_streaming"], f"streaming gains: {fastest} of {simulated['without_streaming']}")
    check(8 < simulated["least_streamed_rows"] < 2048, f"from some rows on: {simulated['least_streamed_rows']}")
    shallow = [p["tokens_per_s"] for p in simulated["prompts"] if p["rows_per_pass"] == 2048]
    check(shallow == sorted(shallow, reverse=True) and len(shallow) == 4, f"slower behind a context: {shallow}")
    with scratch() as folder:
        picture = os.path.join(folder, "pass.svg")
        text = must(DODECA, "plan", *on_card, "--simulate", "-v", "--plot", picture).out
        check("simulated, not measured" in text and "wave" in text and "link" in text, text[-500:])
        check(len(xml.dom.minidom.parse(picture).getElementsByTagName("rect")) > 30, "the picture has bars")
    both = plan(*V3, "--machine", "2xepyc-9554", "--gpu", "rtx-4090")["prediction"]
    check(both["parts"] == 1 and any("cut into parts" in note for note in both["notes"]), f"a card wants one part: {both['notes']}")
    check(plan(*V3, "--machine", "epyc-9554", "--gpu", "rtx-4090", "--vram", "12GiB")["device"]["usable_bytes"] < 12 << 30, "--vram")


def check_compare(folder):
    svg = os.path.join(folder, "plan.svg")
    text = must(DODECA, "plan", *V3, "--compare", "epyc-7763,epyc-9554,2xepyc-9654:nps4", "--plot", svg).out
    rows = [line for line in text.splitlines() if line.startswith("| AMD") or line.startswith("| 2 x")]
    check(len(rows) == 3 and "2 x AMD EPYC 9654" in rows[2], f"a row per machine: {text}")
    check(len({row.count("|") for row in rows}) == 1, "rows have the same columns")
    check("| 2 x AMD EPYC 9654 (nps4) | 192 | 8 |" in text and "estimate from TDP" in text, f"parts and energy: {text}")
    picture = xml.dom.minidom.parse(svg)
    check(len(picture.getElementsByTagName("path")) >= 6 and "AMD EPYC 9554" in read(svg).decode(), "the plot is whole")
    pages = json.loads(must(DODECA, "plan", *V3, "--compare", "epyc-9554,epyc-9654", "--json").out)
    check([p["machine"]["name"] for p in pages] == ["epyc-9554", "epyc-9654"], "the same as JSON")
    kept = os.path.join(folder, "kept.json")
    with open(kept, "w", encoding="utf-8") as f:
        f.write('{"dodeca_machine":1,"name":"mine","title":"my server","like":"epyc-9554","mt_per_s":{"value":4400,"measured":"dmidecode"}}')
    before = read(kept)
    for machine in (kept, f"2x{kept}:nps4"):
        done = run(DODECA, "plan", *V3, "--machine", machine, "--plot", kept)
        check(done.code != 0 and read(kept) == before, f"nothing that is read is written: {machine}: {done.err}")
    mine = plan(*V3, "--machine", kept)["prediction"]
    check(mine["machine"]["mt_per_s"] == {"value": 4400, "evidence": "measured", "source": "dmidecode"}, "a file's figure")
    with open(kept, "w", encoding="utf-8") as f:
        f.write('{"dodeca_machine":1,"name":"mine","title":"my server","like":"epyc-9554","mt_per_s":{"value":-1,"measured":"x"}}')
    done = run(DODECA, "plan", *V3, "--machine", kept)
    check(done.code == 1 and "kept.json" in done.err and '"mt_per_s" is -1' in done.err, f"a bad figure: {done.err}")


def check_backtest():
    page = json.loads(must(DODECA, "plan", "--backtest", "--json").out)
    check(len(page["results"]) >= 15 and all(r["source"] for r in page["results"]), "results with sources")
    check(sum(r["predicted"] is not None for r in page["results"]) >= 15, "at least 15 are predicted")
    check(0 < page["mean_error"] <= abs(page["worst_error"]), "errors")
    text = must(DODECA, "plan", "--backtest").out
    check("mean error" in text and "RTX 4090" in text, "as a page")
    with open(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "PLAN.md"), encoding="utf-8") as f:
        check(f.read() == text, "bench/PLAN.md is what `dodeca plan --backtest` prints")


def check_measured(folder):
    out = os.path.join(folder, "here.json")
    must(BENCH, "--write-machine", out, "--machine-seconds", "2", "-q")
    page = json.loads(read(out))
    check(page["dodeca_machine"] == 1 and page["teams"][0]["threads"] == 1 and page["teams"][0]["read_gb_s"] > 0, "teams")
    check(page["rates"]["types"]["Q2_K"]["one_row"] > 0 and page["clock_ghz"]["measured"], "kernels and clock")
    p = plan("--shape", "deepseek-v2-lite", "--machine", out)["prediction"]
    check(p["depths"][0]["tokens_per_s"] > 0.5 and p["machine"]["rates"]["evidence"] == "measured", "the file predicts")
    check(not re.search(r"/home|/root|/tmp", read(out).decode()), "no path is in it")
    done = run(BENCH, "--write-machine", out, "--shape", "deepseek-v3")
    check(done.code == 2 and "--write-machine" in done.err, f"it measures no model: {done.err}")


with scratch() as work:
    check_usage()
    check_prediction()
    check_card()
    check_compare(work)
    check_backtest()
    check_measured(work)
finish("dodeca plan")
