"""sanitize.py all: compute-sanitizer on kernels of prefill (more than 16 rows, in several tiles), of decoding and of the choice of
a token; of routed experts, alone and in clusters of blocks, and of latents, whose kernels are their own. A line of JSON each; exit
status 1: one found something."""
import os

from cases import main, sanitized, say

PLANS = ("demo", "golden_mixtral_bf16", "golden_gpt_oss_bf16", "golden_deepseek_v3_bf16", "experts_small",
         "experts_small_clusters")


def sanitize():
    good = True
    for tool in ("memcheck", "synccheck", "racecheck"):
        for plan in PLANS:
            if not os.path.exists(plan + ".fb"):
                say(step="sanitize", tool=tool, plan=plan, skipped="there is no such plan")
                continue
            prompt = ",".join(str(3 + i * 7 % 40) for i in range(330 if plan == "demo" else 33))
            flags = ["--prompt-ids", prompt, "-n", "8", "--ignore-eos", "--temperature", "1", "--top-k", "20", "--top-p", "0.9",
                     "--seed", "1", *(["--synthetic-weights"] if plan.startswith("experts_small") else [])]
            # Tools are slow.
            line = sanitized("sanitize", tool, plan + ".fb", flags, 120)
            good = say(**line) and good
            if "compute-sanitizer" in line.get("skipped", ""):
                return good
    return good


if __name__ == "__main__":
    main({"all": sanitize})
