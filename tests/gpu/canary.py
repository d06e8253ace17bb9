"""canary.py all: before anything else, whether a GPU computes at all: a small model row by row, in chunks and sampled, and experts,
one case after the other. What is wrong is looked into at once: the same with full edges (--profile: no kernel begins before the
one ahead has ended), with the products of mma.sync, op by op against the CPU, under compute-sanitizer. A line of JSON each; exit
status 1: a case is not as it should be."""
import json

from cases import CASE_SECONDS, finished, hung, llmrun, main, prompts, sanitized, say

SAMPLED = ["--temperature", "0.9", "--top-k", "40", "--top-p", "0.95", "--seed", "5"]
SYNTHETIC = ["--synthetic-weights"]
# Name, plan, tokens of the prompt, flags. Of experts_all each row takes all: a choice at the edge of a rounding would tip over.
# The last chunk gives the logits that are compared: 23 tokens end in one of 2, of 5 and of 11 rows, for which there are kernels of
# 4, 8 and 16.
CASES = (("rows", "demo", 23, ["--prefill-chunk", "1"]), ("chunk_3", "demo", 23, ["--prefill-chunk", "3"]),
         ("chunk_6", "demo", 23, ["--prefill-chunk", "6"]), ("chunk_12", "demo", 23, ["--prefill-chunk", "12"]),
         ("chunk_17", "demo", 17, []), ("chunk_300", "demo", 300, []),
         ("experts", "experts_all", 40, SYNTHETIC), ("sampled", "demo", 17, SAMPLED))
# With the same bits.
ALIKE = ("rows", "chunk_3", "chunk_6", "chunk_12")
# Looking into what hangs is not to take long (one op, one run); the slow tools take a while where nothing does.
HANG_SECONDS, BISECT_SECONDS, SANITIZER_SECONDS = CASE_SECONDS // 4, CASE_SECONDS // 2, 2 * CASE_SECONDS


def ran(plan, length, flags, device="cuda", more=(), seconds=CASE_SECONDS):
    return llmrun(plan, "--device", device, "--prompt-ids", prompts(length), "-n", "12", "--ignore-eos", *flags, *more, seconds=seconds)


def right_answer(plan, name, length, flags):
    """The CPU's logits of the same plan; of a sampled text what the host's sampler makes of the GPU's logits."""
    if name == "sampled":
        return ran(plan, length, flags, more=["--top-logits", "5"])
    return ran(plan, length, flags, device="cpu", more=["--top-logits", "5"])


def judged(name, got, right):
    """What is wrong with a run; {} if nothing is."""
    if name == "sampled":
        return {} if got["ids"] == right["ids"] else {"ids": got["ids"], "right_ids": right["ids"]}
    # Up to 16 rows at once both sum products of f32 operands, and keys and values are rounded to 16 bits: an element that tips over there
    # moves a logit by a small part of 2^-8. In a longer chunk operands are rounded too (check_goldens.py: golden).
    rounding = 2**-7 if name in ALIKE else 2**-5
    for step, (ours, theirs) in enumerate(zip(got["steps"], right["steps"])):
        largest = max(abs(logit) for _, logit in theirs)
        off = abs(ours[0][1] - theirs[0][1])
        gap = theirs[0][1] - theirs[1][1]
        if off > rounding * largest or (ours[0][0] != theirs[0][0] and gap > 2 * rounding * largest):
            return {"at_step": step, "top": ours, "right_top": theirs, "tolerance": rounding * largest}
        # Behind another id all is another text.
        if ours[0][0] != theirs[0][0]:
            break
    return {}


def checked(plan, name, length, flags, right, more=(), seconds=CASE_SECONDS):
    """What is wrong with the GPU's run, {} if nothing is; the run."""
    logits = [] if name == "sampled" else ["--top-logits", "5"]
    got, error = ran(plan, length, flags, more=[*logits, *more], seconds=seconds)
    return ({"error": error}, None) if got is None else (judged(name, got, right), got)


def same_bits(runs):
    """A line: whether rows have the bits alone that they have in a batch, as kernels of up to 16 rows promise."""
    alone, wrong = runs["rows"]["steps"], {}
    for name, run in runs.items():
        step = next((i for i, (ours, theirs) in enumerate(zip(run["steps"], alone)) if ours != theirs), None)
        if step is not None:
            wrong[name] = {"at_step": step, "top": run["steps"][step], "alone_top": alone[step]}
    return {"step": "canary", "case": "same_bits", "ok": not wrong, **wrong}


def compared_ops(plan, length, flags):
    """compare_ops' lines: what each op wrote against the CPU's, in a chunk and row by row."""
    weights = [flag for flag in flags if flag in SYNTHETIC]
    command = ["./compare_ops", plan, "--rows", str(length), "--decode", "2", "--seconds", str(HANG_SECONDS)]
    code, out, error = finished([*command, *weights])
    lines = [json.loads(line) for line in out.splitlines()]
    return lines if code in (0, 1) and lines else [*lines, {"plan": plan, "error": error.strip()[-600:]}]


def bisect(name, plan, length, flags, right, hangs):
    """Runs it in other ways, a line each; what they point to."""
    ops = compared_ops(plan, length, flags)
    for line in ops:
        say(**{**line, "step": "canary", "case": name})
    good = {}
    for variant, path, more in (("full_edges", plan, ["--profile"]), ("mma", plan.replace(".fb", ".mma.fb"), [])):
        wrong, _ = checked(path, name, length, flags, right, more, BISECT_SECONDS)
        good[variant] = not wrong
        say(step="canary", case=name, bisect=variant, ok=not wrong, **wrong)
    for tool in () if hangs else ("memcheck", "synccheck"):
        more = ["--prompt-ids", prompts(length), "-n", "2", "--ignore-eos", *flags]
        say(**sanitized("canary", tool, plan, more, SANITIZER_SECONDS))
    if good["full_edges"]:
        return "programmatic launch: with full edges it is right"
    wrong_op = next((line for line in ops if "op" in line), None)
    if wrong_op:
        return f"{wrong_op['op']} of layer {wrong_op['layer']} ({wrong_op['entry']}, kernel {wrong_op['kernel']})"
    return "what sm_90a alone has: the mma plan is right" if good["mma"] else "nothing: see the lines above"


def canary():
    good, bisected, alike = True, set(), {}
    for name, model, length, flags in CASES:
        plan = model + ".fb"
        if hung():
            say(step="canary", case=name, skipped="others hung")
            continue
        right, error = right_answer(plan, name, length, flags)
        wrong, got = ({"error": "the right answer: " + error}, None) if right is None else checked(plan, name, length, flags, right)
        say(step="canary", case=name, plan=plan, ok=not wrong, **wrong)
        good = good and not wrong
        # One case of each plan tells what another one would.
        if wrong and right is not None and plan not in bisected:
            bisected.add(plan)
            say(step="canary", case=name, points_to=bisect(name, plan, length, flags, right, "hung" in wrong.get("error", "")))
        if name in ALIKE and got:
            alike[name] = got
    line = {"step": "canary", "case": "same_bits", "skipped": "not all of them ran"}
    if len(alike) == len(ALIKE):
        line = same_bits(alike)
    say(**line)
    return good and line.get("ok", True)


if __name__ == "__main__":
    main({"all": canary})
