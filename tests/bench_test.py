#!/usr/bin/env python3
"""dodeca-bench as a user meets it: shapes without a file, what excludes what, result files that other programs read."""
import json

import os

from program import BENCH, DEMO, DODECA, check, finish, must, run, scratch

SMALL = ["--shape", "deepseek-v2-lite", "--layers", "2", "--experts", "8", "-t", "1", "-r", "1", "-q"]


def check_usage():
    def usage(args, *words):
        done = run(BENCH, *args)
        check(done.code == 2 and done.out == "", f"{args}: exit code {done.code}, {done.out!r}")
        for word in words:
            check(word in done.err, f"{args}: {word!r} in {done.err!r}")

    usage(["--shape", "deepseek-v9"], "--shape", "deepseek-v3")
    usage(["--shape", "deepseek-v3", "-m", DEMO], "--shape", "-m")
    usage(["-m", DEMO, "--layers", "3"], "--layers", "--shape")
    usage(["--shape", "deepseek-v3", "--layers", "62"], "--layers", "61")
    usage(["--shape", "deepseek-v3", "--experts", "20"], "--experts")
    usage(["--shape", "deepseek-v3", "--recipe", "Q9"], "--recipe", "ud-q2_k_xl")


def check_too_large():
    done = run(BENCH, "--shape", "kimi-k2", "--recipe", "F32", "-q")
    check(done.code == 1 and done.out == "", f"4 TB of weights: exit code {done.code}")
    check("kimi-k2 F32 needs" in done.err, f"the numbers are named: {done.err!r}")


def check_shape():
    rows = json.loads(must(BENCH, *SMALL, "-p", "8", "-n", "2", "--no-membw", "-o", "json").out)
    check([(r["n_prompt"], r["n_gen"]) for r in rows] == [(8, 0), (0, 2)], "one prompt and one generation test")
    for row in rows:
        check("2 of 27 layers" in row["model_type"] and row["avg_ts"] > 0, f"a shape says what it holds: {row['model_type']}")
    check(rows[0]["gmac_per_s"] > 0 and rows[1]["gmac_per_s"] is None, "prompts have multiply-accumulates")
    table = must(BENCH, *SMALL, "-p", "0", "-n", "2", "--no-membw", "--recipe", "Q8_0").out
    check("extrapolated from 1 dense and 1 MoE layers to the whole model's 1 and 26" in table, table)


def check_drafts():
    shape = ["--shape", "deepseek-v3", "--layers", "2", "--experts", "16", "-t", "1", "-r", "1", "-q", "-p", "0", "-n", "12", "--no-membw"]
    row = json.loads(must(BENCH, *shape, "--mtp-accept", "1", "-o", "jsonl").out)
    drafts = row["drafts"]
    check(drafts["drafted"] == drafts["accepted"] >= 5 and drafts["bound"] > 0 and drafts["gain"] > 0, f"all drafts are taken: {drafts}")
    check(8 < drafts["experts_touched"] <= 16, f"two rows touch more experts than one: {drafts}")
    none = json.loads(must(BENCH, *shape, "--mtp-accept", "0", "-o", "jsonl").out)["drafts"]
    check(none["accepted"] == 0 and none["drafted"] == 10, f"no draft is taken: {none}")
    check("drafts" not in json.loads(must(BENCH, *shape, "-o", "jsonl").out), "without the flag nothing is drafted")
    done = run(BENCH, *SMALL, "-p", "0", "-n", "2", "--mtp-accept", "0.5")
    check(done.code == 1 and "multi-token prediction" in done.err, f"a shape without the layer: {done.err!r}")


def check_parallel():
    rows = json.loads(must(BENCH, *SMALL, "-p", "0", "-n", "4", "--parallel", "1,4", "-d", "8", "--no-membw", "-o", "json").out)
    check([r["n_parallel"] for r in rows] == [1, 4], "a test for each number of sequences")
    check(rows[0]["experts_touched"] == 6, "one sequence touches its own experts")
    check(6 < rows[1]["experts_touched"] <= 8, f"four touch more, at most all 8: {rows[1]['experts_touched']}")
    check(rows[1]["bytes_per_token"] < rows[0]["bytes_per_token"], "sequences share what is read")
    check(run(BENCH, *SMALL, "--parallel", "0").code == 2, "no sequence at all is refused")


def check_attention():
    every = json.loads(must(BENCH, "attention", "--seconds", "0.001", "-o", "json", "-q").out)
    index, grouped = [r for r in every if "indexer_heads" in r], [r for r in every if "grouped" in r]
    rows = [r for r in every if "cache" in r and "grouped" not in r]
    check([r["indexer_heads"] for r in index] == [32, 64] and all(r["row_bytes"] == 260 for r in index), f"the indexer: {index}")
    check(all(r["score_us"] > 0 and r["choose_us"] > 0 for r in index), f"times: {index}")
    check([r["cache"] for r in grouped] == ["F16", "BF16", "Q8_0", "I8"], f"grouped queries, too: {grouped}")
    check(all(r["load_us"] > 0 and 0 < r["lanes_8_us"] < r["lanes_512_us"] for r in grouped), f"times: {grouped}")
    check([r["cache"] for r in rows] == ["F16", "BF16", "Q8_0", "I8"], f"one row per cache type: {rows}")
    check([r["row_bytes"] for r in rows] == [1152, 1152, 612, 648], "bytes of V3's rows")
    check(all(0 < r["load_us"] < r["absorbed_us"] and r["load_us"] < r["decompressed_us"] for r in rows), f"times: {rows}")
    check(len(must(BENCH, "attention", "--seconds", "0.001", "--isa", "avx2", "-q").out.splitlines()) == 18, "three tables")


def check_gpu():
    report = json.loads(must(BENCH, "gpu", "--gpu", "emulation", "-o", "json", "-q").out)
    check(report["device"]["name"] == "emulation" and report["times_mean_something"] is False, "the emulation measures nothing")
    check({(c["memory"], c["direction"]) for c in report["copies"]} ==
          {(m, d) for m in ("pinned", "registered") for d in ("to device", "to host", "both")}, f"copies: {report['copies']}")
    check(report["round_trip"]["turns"] >= 20 and report["read_gb_per_s"] > 0 and report["launch"]["graph_us"] > 0, "rates")
    names = {k["kernel"] for k in report["kernels"]}
    products = {name for name in names if name.startswith("multiply_")}
    check(len(products) == 4 * 18 + 14, f"every type and number of columns: {sorted(products)}")
    check({"mla_decode_f16_512_64", "mla_decode_bf16_512_64", "mla_decode_int8_512_64", "mla_decode_f32", "mla_merge"} <= names,
          f"attention: {names}")
    check(all(k["us"] > 0 and k["bytes"] > 0 and k["operations"] > 0 for k in report["kernels"]), "each has time, bytes, operations")
    done = run(BENCH, "gpu", "--gpu", "emulation")
    check("times mean nothing" in done.err and "| multiply_q4_k_1 | output projection" in done.out, f"a table: {done.err}")
    for bad in (["--gpu", "emulation", "--vram", "1KiB"], ["--gpu", "1000"]):
        done = run(BENCH, "gpu", *bad)
        check(done.code == 1 and len(done.err.strip().splitlines()) <= 2, f"gpu {bad}: {done.code}, {done.err!r}")
    check(run(BENCH, "gpu", "--seconds", "0").code == 2, "no time at all is refused")
    done = run(BENCH, "gpu", "--gpu", "emulation", "--write-card", "card.json")
    check(done.code == 2 and "emulation" in done.err and not os.path.exists("card.json"), f"a card that is none: {done.err[-200:]}")


def check_sample():
    rows = json.loads(must(BENCH, "sample", "-t", "1,2", "--parallel", "1,3", "--vocab", "1000", "--seconds", "0.001",
                           "-o", "json", "-q").out)
    check({(row["sequences"], row["threads"]) for row in rows} == {(1, 1), (1, 2), (3, 1), (3, 2)}, "all combinations")
    check({"greedy", "defaults"} <= {row["sampling"] for row in rows} and all(row["ms"] > 0 for row in rows), str(rows))


def check_barrier():
    rows = json.loads(must(BENCH, "barrier", "-t", "1,2", "--seconds", "0.02", "-o", "json", "-q").out)
    check([r["threads"] for r in rows] == [1, 2], "one row per team size")
    two = rows[1]
    check(0 <= two["min_ns"] <= two["median_ns"] <= two["p99_ns"] and two["p99_ns"] > 0, f"ordered times: {two}")
    check(abs(two["us_per_token"] - two["median_ns"] * 61 * 9 / 1000) < 1e-6, "61 layers of 9 phases by default")
    check(two["entry_asleep_us"] > 0 and two["entry_awake_us"] > 0, f"the cost of beginning a token: {two}")
    check(run(BENCH, "barrier", "-t", "0").code == 2, "no team of 0")


def check_kernels():
    args = ["kernels", "--types", "Q2_K,F32", "--best", "--columns", "1,16,65", "--seconds", "0.01", "--size", "64"]
    report = json.loads(must(BENCH, *args, "-o", "json", "-q").out)
    check(report["clock_ghz"] > 0.1 and report["read_gb_per_s"] > 0.1, "clock and read rate")
    check(report["peak_gmac_per_s"]["int8"] > 0 and report["peak_gmac_per_s"]["f32"] > 0, "arithmetic peaks")
    got = sorted((r["type"], r["columns"], r["memory_gb_per_s"] is not None) for r in report["kernels"])
    check(got == [("F32", 1, True), ("F32", 16, True), ("F32", 65, False), ("Q2_K", 1, True), ("Q2_K", 16, True), ("Q2_K", 65, False)], f"rows: {got}")
    for row in report["kernels"]:
        check(row["cache_gb_per_s"] > 0 and row["gmac_per_s"] > 0, f"rates: {row}")
    for bad in (["--types", "Q9_K"], ["--columns", "0"], ["--n-in", "300"], ["-t", "8", "--size", "64"]):
        check(run(BENCH, "kernels", *bad).code == 2, f"kernels {bad} is refused")


def check_tune():
    with scratch() as folder:
        home, file = {"XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder, "DODECA_TUNING": ""}, os.path.join(folder, "dodeca", "tuning.json")
        quick = ["tune", "--types", "Q4_K,F32", "--seconds", "0.001"]
        table = must(BENCH, *quick, "--dry-run", env=home).out
        check("| gemv_q4_k_" in table and "--onednn" in table, f"variants and what is taken: {table}")
        check(not os.listdir(folder), "a dry run writes nothing")

        report = json.loads(must(BENCH, *quick, "-o", "json", env=home).out)
        check([t["type"] for t in report["types"]] == ["Q4_K", "F32"], "the types asked for")
        check(1 <= report["generation_threads"] <= report["prompt_threads"] and report["threads_reason"],
              "how many threads, and why")
        for tuned in report["types"]:
            check(all(len(variant["row_ns"]) == 9 and min(variant["row_ns"]) > 0 for variant in tuned["variants"]), f"times: {tuned}")
        with open(file) as f:
            written = json.load(f)
        check(written["processor"] == report["processor"], "the file names the processor")
        kept = {t["type"]: {k: t[k] for k in ("gemv", "gemm", "gemm_min_rows")} for t in report["types"]}
        for name, choice in kept.items():
            check(written["types"][name] == choice, f"the file has what the report says of {name}: {written}")
        must(BENCH, "tune", "--types", "Q6_K", "--seconds", "0.001", "-q", env=home)
        with open(file) as f:
            check({"F32", "Q4_K", "Q6_K"} <= json.load(f)["types"].keys(), "other types stay")

        generate = [DODECA, "run", "-m", DEMO, "-p", "It is", "-n", "4", "--temp", "0", "-t", "1", "-v"]
        plain = must(*generate)
        check("kernel tuning: none, as DODECA_TUNING says" in plain.err, f"tests run without the user's file: {plain.err}")
        written["types"] = {"F32": {"gemv": "scalar", "gemm": "scalar", "gemm_min_rows": 3}}
        with open(file, "w") as f:
            json.dump(written, f)
        tuned = must(*generate, env=home)
        check(f"kernel tuning: 1 types, from {file}" in tuned.err, f"the user's file is found: {tuned.err}")
        check("kernels of F32: gemv_f32_scalar, from 3 rows gemm_f32_scalar" in tuned.err, f"and taken: {tuned.err}")
        check(tuned.out == plain.out, "and changes nothing else")
        with open(file, "w") as f:
            json.dump({**written, "processor": "Abacus 1/1"}, f)
        other = must(*generate[:-1], env=home)
        check("left out: it was measured on Abacus 1/1" in other.err, f"one line for a file of another processor: {other.err}")
        with open(file, "w") as f:
            json.dump({**written, "types": {"Q9": {}}}, f)
        broken = run(*generate, env=home)
        check(broken.code == 1 and file in broken.err and "Q9" in broken.err, f"a broken file is named: {broken.err}")
    for bad in (["--types", "Q9_K"], ["--types", "TQ1_0"], ["--seconds", "0"]):
        check(run(BENCH, "tune", "--dry-run", *bad).code == 2, f"tune {bad} is refused")


check_usage()
check_too_large()
check_shape()
check_drafts()
check_parallel()
check_barrier()
check_sample()
check_attention()
check_gpu()
check_kernels()
check_tune()
finish("bench")
