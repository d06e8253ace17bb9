"""check_goldens.py goldens: every golden through llmrun --device cuda, row by row (f32 operands, the golden's own tolerance)
and in one chunk (tensor cores: ids, and how far logits are). check_goldens.py compare: the same logits on CPU and GPU.
check_goldens.py wgmma: a prompt's logits through this architecture's tensor-core products and through mma.sync.
check_goldens.py sample: tokens that the device chooses alone and that the host chooses from its logits. A line of JSON
each."""
import glob
import json
import subprocess
import sys


def output(plan, *flags):
    """What llmrun wrote to stdout and stderr; (None, why) where it failed or hung: the other cases still run."""
    # Seconds suffice for plans that hold weights of their own; real shapes make up gigabytes first.
    limit = 200 if "--synthetic-weights" in flags else 60
    try:
        done = subprocess.run(["./llmrun", plan, *flags], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, "timed out"
    if done.returncode != 0:
        return None, done.stderr.strip()
    return done.stdout, done.stderr


def llmrun(plan, *flags):
    text, error = output(plan, "--json", *flags)
    return (None, error) if text is None else (json.loads(text), "")


def worst(run, other):
    return max(abs(a[0][1] - b[0][1]) for a, b in zip(run, other))


def goldens():
    for path in sorted(glob.glob("golden_*.json")):
        golden = json.load(open(path))
        plan = path.replace(".json", ".fb")
        run = next((r for r in golden["runs"] if r["weights_dtype"] == golden["stored_dtype"] and r["kv_dtype"] == "f32"), None)
        prompt = ",".join(map(str, golden["prompt_ids"]))
        for name, flags in (("rows", ["--prefill-chunk", "1"]), ("chunk", [])):
            got, error = llmrun(plan, "--device", "cuda", "--prompt-ids", prompt, "-n", "20", "--ignore-eos", "--top-logits", "5", *flags)
            line = {"step": "goldens", "golden": path[7:-5], "dtype": golden["stored_dtype"], "prompt": name}
            if got is None:
                line["error"] = error
            else:
                error = worst(got["steps"], [s["top"] for s in run["steps"]])
                line.update(ids_equal=got["ids"] == run["greedy_ids"], worst=error, tolerance=golden["tolerance"] if "tolerance" in golden else run["tolerance"])
                line["ok"] = line["ids_equal"] and (name == "chunk" or error <= line["tolerance"])
            print(json.dumps(line), flush=True)


def compare():
    for plan in [p for p in sorted(glob.glob("golden_*.fb")) if not p.endswith(".mma.fb")] + ["demo.fb"]:
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
        print(json.dumps(line), flush=True)


def prompts(length, vocab):
    return ",".join(str(3 + i * 7919 % (vocab - 3)) for i in range(length))


def tiles(profile):
    """The products of warpgroups that --profile saw, by their rows: [128, 256]."""
    return sorted(n for n in (128, 256) if f"_wgmma{n} " in profile)


# Both round the same operands to 16 bits; sums differ in order. A sum that lies at the edge of a rounding tips over here and
# there, by 2^-8 of its size in bf16; what reaches the logits is some such steps, never a factor: 2^-5 of the largest.
# Lengths: 16 and fewer are decoded; a matrix goes from tiles of 128 rows to 256 behind 256 (1b: gate and up), behind 128, 512
# and 1024 (7b: gate and up; q, k and v; the others), where codegen/cuda/Emit.cpp says `few`. Both sides of each, and ragged ends.
def wgmma():
    gpu = subprocess.run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], capture_output=True, text=True)
    if gpu.stdout.split()[:1] != ["9.0"]:
        print(json.dumps({"step": "wgmma", "skipped": "wgmma is compute capability 9.0's alone"}), flush=True)
        return
    synthetic = ["--synthetic-weights", "--max-seq-len", "2048"]
    cases = [("demo.fb", 200, [], (17, 64, 129, 250)), ("1b.fb", 128000, synthetic, (17, 129, 256, 257, 1100)),
             ("7b.fb", 30000, synthetic, (17, 129, 512, 513, 1024, 1025))]
    for plan, vocab, flags, lengths in cases:
        for length in lengths:
            both, seen = [], []
            for path in (plan, plan.replace(".fb", ".mma.fb")):
                command = [path, "--device", "cuda", "--prompt-ids", prompts(length, vocab), "-n", "1", "--ignore-eos", "--top-logits", "16", "--profile", "--json", *flags]
                text, error = output(*command)
                both.append((None, error) if text is None else (json.loads(text), ""))
                seen.append(tiles(error))
            line = {"step": "wgmma", "plan": plan, "prompt": length}
            if both[0][0] is None or both[1][0] is None:
                line["error"] = both[0][1] or both[1][1]
            else:
                mine, other = (dict(run["steps"][0]) for run, _ in both)
                largest = max(abs(v) for v in other.values())
                line.update(same_id=both[0][0]["ids"] == both[1][0]["ids"], shared_of_16=len(mine.keys() & other.keys()), largest=largest, tiles=seen[0])
                line["worst"] = max((abs(mine[i] - other[i]) for i in mine.keys() & other.keys()), default=float("inf"))
                line["ok"] = line["worst"] <= largest / 32 and line["shared_of_16"] >= 8 and bool(seen[0]) and not seen[1]
            print(json.dumps(line), flush=True)


def sample():
    options = (["--temperature", "1"], ["--temperature", "0.8", "--top-k", "40"], ["--temperature", "1.2", "--top-p", "0.9"],
               ["--temperature", "0.9", "--top-k", "200", "--top-p", "0.95", "--min-p", "0.01", "--repetition-penalty", "1.1"],
               ["--temperature", "0", "--repetition-penalty", "1.2"])
    for plan, flags in (("demo.fb", []), ("1b.fb", ["--synthetic-weights", "--max-seq-len", "512"])):
        for option in options:
            run = ["--device", "cuda", "--prompt-ids", prompts(20, 500), "-n", "64", "--ignore-eos", "--seed", "5", *flags, *option]
            alone, error = llmrun(plan, *run)
            here, other_error = llmrun(plan, *run, "--top-logits", "1")
            line = {"step": "sample", "plan": plan, "options": option}
            if alone is None or here is None:
                line["error"] = error or other_error
            else:
                line["ok"] = alone["ids"] == here["ids"]
            print(json.dumps(line), flush=True)


{"goldens": goldens, "compare": compare, "wgmma": wgmma, "sample": sample}[sys.argv[1]]()
