#!/usr/bin/env python3
"""dodeca quantize with a size instead of types: the file is within its size and better than the mixtures of that size, the choice is
saved, read back and edited, what was measured serves another size, and what cannot be is refused with its numbers."""
import json
import os
import re

from program import DEMO, DODECA, ROOT, check, divergence, finish, must, read, run, scratch

TEXT = os.path.join(ROOT, "bench", "demo", "valid.txt")
CALIBRATION = os.path.join(ROOT, "bench", "demo", "calibration.txt")

with scratch() as folder:
    def at(name):
        return os.path.join(folder, name)

    def recipe_of(name):
        with open(at(name)) as f:
            return json.load(f)

    must(DODECA, "ppl", "-m", DEMO, "-f", TEXT, "--kl-divergence-base", at("base"), "--chunks", "8")
    must(DODECA, "imatrix", "-m", DEMO, "-f", CALIBRATION, "-o", at("imatrix.gguf"), "--chunks", "8", "--no-ppl")
    imatrix = ["--imatrix", at("imatrix.gguf")]
    # Fewer types and fewer parts of the model to measure: this is about the way, not about the best file.
    types = ["--types", "Q2_K,Q3_K,IQ4_XS,Q4_K,Q5_K,Q6_K,Q8_0", "--tensor-type", "attn_[kqv]|shexp=Q4_K"]
    measure = ["--calibration", CALIBRATION, "--calibration-chunks", "1"]
    kept = ["--sensitivities", at("kept.json")]

    must(DODECA, "quantize", DEMO, at("mixture.gguf"), "--recipe", "ud-q2_k_xl", *imatrix)
    size = os.path.getsize(at("mixture.gguf"))
    sized = ["--target-size", str(size)]
    made = must(DODECA, "quantize", DEMO, at("allocated.gguf"), *sized, *types, *measure, *kept, "--save-recipe", at("recipe.json"), *imatrix)
    check(size * 0.998 < os.path.getsize(at("allocated.gguf")) <= size, "the size is used and kept")
    ours, mixture = divergence(at("allocated.gguf"), at("base")), divergence(at("mixture.gguf"), at("base"))
    check(ours < 0.9 * mixture, f"divergence {ours} against the mixture's {mixture}")
    told = re.search(r"chosen for (\d+) bytes: expected divergence ([\d.]+) \(no choice is below ([\d.]+)\), measured ([\d.]+)", made.err)
    check(told is not None, "the choice is told with its bound")
    if told:
        check(int(told[1]) == os.path.getsize(at("allocated.gguf")), "the size that was told")
        check(float(told[3]) <= float(told[2]) < 1.03 * float(told[3]), f"expected {told[2]} near its bound {told[3]}")
        check(float(told[2]) / 2 < float(told[4]) < float(told[2]) * 2, f"expected {told[2]}, measured {told[4]}")

    must(DODECA, "quantize", DEMO, at("again.gguf"), "--recipe", at("recipe.json"), *imatrix)
    check(read(at("again.gguf")) == read(at("allocated.gguf")), "the saved recipe makes the same file")
    recipe = recipe_of("recipe.json")
    check(recipe["recipe"] == f"model in {os.path.getsize(at('allocated.gguf'))} bytes", f"its name: {recipe['recipe']}")
    recipe["tensors"]["output.weight"] = "Q8_0"
    recipe["rules"] = [{"match": "nothing_has_this", "type": "Q2_K"}]
    with open(at("edited.json"), "w") as f:
        json.dump(recipe, f)
    check(recipe["tensors"].keys() >= {"output.weight", "blk.3.ffn_up_exps.weight"}, "the recipe has what was chosen")
    listed = must(DODECA, "quantize", DEMO, at("none.gguf"), "--recipe", at("edited.json"), "--dry-run")
    check(re.search(r"^output\.weight +Q8_0", listed.out, re.M), "an edited recipe")
    check("nothing_has_this" in listed.err, "a rule without a tensor is told")

    # What was measured makes the same choice, and others, without being measured again.
    dry = [DODECA, "quantize", DEMO, "--dry-run", *types, *imatrix]
    known = must(*dry, *sized, *kept, "--save-recipe", at("known.json"))
    check(recipe_of("known.json") == recipe_of("recipe.json"), "known sensitivities give the measured choice")
    check("without --calibration" not in known.err and "measured" not in known.err, f"nothing is measured: {known.err!r}")
    before = read(at("kept.json"))
    must(*dry, "--target-bpw", "5", "--tensor-type", "blk=Q4_K", *measure, *kept)
    check(read(at("kept.json")) == before, "nothing is measured twice")
    done = run(*dry[:-2], *sized, *kept)
    check(done.code == 1 and "another model or with another importance" in done.err, f"without the matrix: {done.code}, {done.err!r}")
    must(*dry[:-2], "--tensor-type", "blk=Q4_K", "--target-size", "14M", *measure, *kept)
    check(set(recipe_of("kept.json")["sensitivities"]) == {"token_embd.weight", "output.weight"}, "measured anew without the matrix")
    done = run(*dry[:-2], *sized, *kept)
    check(done.code == 1 and "is not known" in done.err, f"a part that was not measured: {done.code}, {done.err!r}")

    estimated = must(DODECA, "quantize", DEMO, at("bpw.gguf"), "--target-bpw", "3.5", "--types", "Q2_K,Q3_K,Q4_K,Q6_K,Q8_0,Q4_0", *imatrix)
    bits = float(re.search(r"([\d.]+) bits per weight, in", estimated.err)[1])
    check(3.45 < bits <= 3.5, f"bits per weight {bits}")
    check("without --calibration" in estimated.err, "estimates are said to be estimates")

    # attn_kv_b of the older layout has a type of its own, within the size; the recipe has it too.
    fused = must(DODECA, "quantize", DEMO, at("fused.gguf"), "--fused-kv-b", "--target-size", "10M", "--save-recipe", at("fused.json"), *types[:2], *imatrix)
    check(os.path.getsize(at("fused.gguf")) <= 10 << 20, f"within the size: {os.path.getsize(at('fused.gguf'))}")
    check("attn_k_b" not in fused.out + fused.err, "no half of attn_kv_b is chosen")
    must(DODECA, "quantize", DEMO, at("fused2.gguf"), "--fused-kv-b", "--recipe", at("fused.json"), *imatrix)
    check(read(at("fused2.gguf")) == read(at("fused.gguf")), "the saved recipe makes the same fused file")
    listed = must(DODECA, "inspect", at("fused.gguf"))
    check(re.search(r"blk\.0\.attn_kv_b\.weight.*Q8_0", listed.out), "attn_kv_b is Q8_0")
    check(must(DODECA, "run", "-m", at("fused.gguf"), "-p", "It is", "-n", "3", "--temp", "0", "-q").out, "it runs")

    speed = must(*dry, "--types", "Q2_K,Q8_0", *sized, "--objective", "speed")
    check("output.weight" in speed.out, "a dry run shows the choice")

    for flags, code, message in [
            (["--target-size", "1M", "--types", "Q4_0,Q8_0"], 1, "are allowed"),
            (["--target-size", "lots"], 2, "needs a size"),
            (["--target-size", "10M", "--type", "Q4_K"], 2, "exclude each other"),
            (["--target-size", "10M", "--target-bpw", "3"], 2, "exclude each other"),
            (["--target-size", "10M", "-c", "4096"], 2, "-c goes with --fit-ram"),
            (["--target-size", "10M", "--calibration-chunks", "2"], 2, "goes with --calibration"),
            (["--target-size", "10M", "--sensitivities", at("absent.json")], 2, "no file"),
            (["--target-size", "10M", "--sensitivities", TEXT], 1, "valid.txt"),
            (["--type", "Q4_K", "--sensitivities", at("kept.json")], 2, "goes with"),
            (["--fit-ram", "1K"], 1, "--fit-ram says"),
            (["--vram", "1G", "--target-size", "10M"], 2, "--vram goes with"),
            (["--target-size", "10M", "--types", "Q2_K,XX"], 2, "'XX'"),
            (["--type", "Q4_K", "--save-recipe", at("x")], 2, "goes with"),
            (["--type", "Q4_K", "--tensor-type", "(.+)+(?!.|$)=Q8_0"], 1, "(.+)+(?!.|$)"),
            (["--recipe", at("absent.json")], 2, "no file and no recipe"),
            (["--recipe", TEXT], 1, "valid.txt")]:
        done = run(DODECA, "quantize", DEMO, at("refused.gguf"), *flags)
        check(done.code == code and message in done.err, f"{flags}: {done.code} {done.err[-200:]}")
    check(not os.path.exists(at("refused.gguf")), "nothing is written by what is refused")
finish("allocation_test")
