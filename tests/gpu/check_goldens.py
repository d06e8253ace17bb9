"""check_goldens.py goldens: every golden through llmrun --device cuda, row by row and in chunks of 11 as a batch
has them (f32 operands, the golden's own tolerance) and in one chunk (tensor cores). check_goldens.py compare: the same logits on CPU and GPU.
check_goldens.py wgmma, wgmma_short: a prompt's logits through this architecture's tensor-core products and through mma.sync.
check_goldens.py clusters: the same products in clusters of blocks, which have the same bits.
check_goldens.py sample: tokens that the device chooses alone and that the host chooses from its logits. A line of JSON
each; exit status 1 if one of them is not as it should be."""
import glob
import json
import subprocess

from cases import AT_ONCE, execute, llmrun, main, prompts, say, say_all


def worst(run, other):
    return max(abs(a[0][1] - b[0][1]) for a, b in zip(run, other))


def golden(path, name, flags):
    golden, dtype = json.load(open(path)), path[:-5].rsplit("_", 1)[1]
    run = next(r for r in golden["runs"] if r["weights_dtype"] == dtype and r["kv_dtype"] == dtype)
    prompt = ",".join(map(str, golden["prompt_ids"]))
    got, error = llmrun(path.replace(".json", ".fb"), "--device", "cuda", "--prompt-ids", prompt, "-n", "20", "--ignore-eos", "--top-logits", "5", *flags)
    line = {"step": "goldens", "golden": path[7:-5], "prompt": name}
    if got is None:
        line["error"] = error
        return line
    # Tensor cores round the operands of a product to 16 bits; why that is far beyond what they reach: tests/cuda/run_test.cpp.
    largest = max(abs(s["top"][0][1]) for s in run["steps"])
    rounding = 0 if name in ("rows", "batch") else {"f32": 0, "bf16": 2**-5, "f16": 2**-8}[dtype]
    line["tolerance"], line["worst"] = run["tolerance"] + rounding * largest, 0
    for step, (ours, theirs) in enumerate(zip(got["steps"], run["steps"])):
        line["worst"] = max(line["worst"], abs(ours[0][1] - theirs["top"][0][1]))
        if ours[0][0] == theirs["top"][0][0]:
            continue
        # Behind another id all is another text. Only two that lie closer than the rounding may change places.
        line.update(differs_at=step, gap=theirs["top"][0][1] - theirs["top"][1][1])
        break
    line["ok"] = line["worst"] <= line["tolerance"] and line.get("gap", 0) <= 2 * rounding * largest
    return line


def goldens():
    return say_all("goldens", golden, [(path, name, flags) for path in sorted(glob.glob("golden_*.json"))
                                       for name, flags in (("rows", ["--prefill-chunk", "1"]), ("batch", ["--prefill-chunk", "11"]), ("chunk", []))])


def compared(plan):
    prompt = ",".join(str(3 + i * 7 % 40) for i in range(33))
    flags = ["--prompt-ids", prompt, "-n", "24", "--ignore-eos", "--top-logits", "8"]
    cpu, error = llmrun(plan, *flags)
    gpu, gpu_error = llmrun(plan, "--device", "cuda", *flags)
    line = {"step": "compare", "plan": plan}
    if cpu is None or gpu is None:
        line["error"] = error or gpu_error
    else:
        same = sum(a == b for a, b in zip(cpu["ids"], gpu["ids"]))
        line.update(ids=len(cpu["ids"]), same_ids=same, first_logit_difference=worst(cpu["steps"][:1], gpu["steps"][:1]))
    return line


def compare():
    return say_all("compare", compared, [(p,) for p in sorted(glob.glob("golden_*.fb")) + ["demo.fb"]])


def tiles(profile):
    """The products of warpgroups that --profile saw: by their rows, and those of experts."""
    return [name for name, suffix in (("128", "128"), ("256", "256"), ("experts", "")) if f"_wgmma{suffix} " in profile]


# Both round the same operands to 16 bits; sums differ in order. A sum that lies at the edge of a rounding tips over here and
# there, by 2^-8 of its size in bf16; what reaches the logits is some such steps, never a factor: 2^-5 of the largest.
def both_products(step, plan, flags, length):
    line = {"step": step, "plan": plan, "prompt": length}
    both, seen = [], []
    for path in (plan, plan.replace(".fb", ".mma.fb")):
        command = ["./llmrun", path, "--device", "cuda", "--prompt-ids", prompts(length), "-n", "1", "--ignore-eos", "--top-logits", "16", "--profile", "--json", *flags]
        text, error = execute(command)
        if text is None:
            return {**line, "error": f"{path}: {error}"}
        both.append(json.loads(text))
        seen.append(tiles(error))
    mine, other = (dict(run["steps"][0]) for run in both)
    largest = max(abs(v) for v in other.values())
    shared = mine.keys() & other.keys()
    line.update(same_id=both[0]["ids"] == both[1]["ids"], shared_of_16=len(shared), largest=largest, tiles=seen[0])
    line["worst"] = max((abs(mine[i] - other[i]) for i in shared), default=None)
    wanted = "experts" if plan == "experts.fb" else "128"
    line["ok"] = len(shared) >= 8 and line["worst"] <= largest / 32 and wanted in seen[0] and not seen[1]
    return line


# Lengths: 16 and fewer are decoded; a matrix goes from tiles of 128 rows to 256 behind 256 (1b: gate and up), behind 128, 512
# and 1024 (7b: gate and up; q, k and v; the others), where codegen/cuda/EmitProducts.cpp says `few`. Both sides of each, and ragged ends.
# Experts' products take 128, 192 or 256 rows of one. Each expert has all rows of the prompt here: a choice at the edge of a
# rounding would tip over too, and that is no small step.
LENGTHS = {"demo.fb": (17, 64, 129, 250), "1b_short.fb": (17, 129, 256, 257, 1100),
           "7b_short.fb": (17, 129, 512, 513, 1024, 1025), "experts.fb": (17, 64, 129, 193, 449, 1025)}
# A tile of each kind, ahead of all that builds on them.
SHORT = {"demo.fb": (17,), "1b_short.fb": (17, 257), "experts.fb": (193,)}


def both_products_of(step, lengths):
    gpu = subprocess.run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], capture_output=True, text=True)
    if gpu.stdout.split()[:1] != ["9.0"]:
        return say(step=step, skipped="wgmma is compute capability 9.0's alone")
    synthetic = ["--synthetic-weights", "--max-seq-len", "2048"]
    cases = [(step, plan, [] if plan == "demo.fb" else synthetic, length) for plan in lengths for length in lengths[plan]]
    # Matrices of real shapes are made up in memory: not many at once.
    return say_all(step, both_products, cases, at_once=min(4, AT_ONCE))


def same_bits(plan, other, length):
    line, steps = {"step": "clusters", "plan": other, "prompt": length}, []
    for path in (plan, line["plan"]):
        got, error = llmrun(path, "--device", "cuda", "--prompt-ids", prompts(length), "-n", "1", "--ignore-eos", "--top-logits", "16",
                            "--synthetic-weights", "--max-seq-len", "2048")
        if got is None:
            return {**line, "error": f"{path}: {error}"}
        steps.append(got["steps"])
    return {**line, "ok": steps[0] == steps[1]}


# Tiles of 128 rows and of 256, of experts of 192 too; ragged ends. Tiles of 64.
CLUSTERS = {"1b_short_clusters.fb": (17, 257), "7b_short_clusters.fb": (1025,), "experts_clusters.fb": (17, 193, 449, 1025),
            "1b_short_tiles.fb": (17, 257)}


def clusters():
    cases = [(other.rpartition("_")[0] + ".fb", other, length) for other in CLUSTERS for length in CLUSTERS[other]]
    return say_all("clusters", same_bits, cases, at_once=min(4, AT_ONCE))


def wgmma_short():
    return both_products_of("wgmma_short", SHORT)


def wgmma():
    return both_products_of("wgmma", {plan: [l for l in LENGTHS[plan] if l not in SHORT.get(plan, ())] for plan in LENGTHS})


def sampled(plan, flags, option):
    run = ["--device", "cuda", "--prompt-ids", prompts(20), "-n", "64", "--ignore-eos", "--seed", "5", *flags, *option]
    line = {"step": "sample", "plan": plan, "options": option}
    alone, error = llmrun(plan, *run)
    if alone is None:
        return {**line, "error": error}
    here, error = llmrun(plan, *run, "--top-logits", "1")
    return {**line, "error": error} if here is None else {**line, "ok": alone["ids"] == here["ids"]}


def sample():
    options = (["--temperature", "1"], ["--temperature", "0.8", "--top-k", "40"], ["--temperature", "1.2", "--top-p", "0.9"],
               ["--temperature", "0.9", "--top-k", "200", "--top-p", "0.95", "--min-p", "0.01", "--repetition-penalty", "1.1"],
               ["--temperature", "0", "--repetition-penalty", "1.2"])
    models = (("demo.fb", []), ("1b_short.fb", ["--synthetic-weights", "--max-seq-len", "512"]))
    return say_all("sample", sampled, [(plan, flags, option) for plan, flags in models for option in options])


if __name__ == "__main__":
    main({"goldens": goldens, "compare": compare, "wgmma": wgmma, "wgmma_short": wgmma_short, "clusters": clusters, "sample": sample})
