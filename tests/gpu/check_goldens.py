"""check_goldens.py goldens: every golden through llmrun --device cuda, row by row (f32 operands, the golden's own tolerance)
and in one chunk (tensor cores: ids, and how far logits are). check_goldens.py compare: the same logits on CPU and GPU.
A line of JSON each."""
import glob
import json
import subprocess
import sys


def llmrun(plan, *flags):
    done = subprocess.run(["./llmrun", plan, "--json", *flags], capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return json.loads(done.stdout), ""


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
    for plan in sorted(glob.glob("golden_*.fb")) + ["demo.fb"]:
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


goldens() if sys.argv[1] == "goldens" else compare()
