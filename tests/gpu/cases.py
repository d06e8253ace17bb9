"""What the cases of tests/gpu have in common: llmrun, a limit on each case, a line of JSON each."""
import concurrent.futures
import json
import os
import subprocess
import sys

# Seconds suffice for each: a GPU that takes longer hangs. (LLMC_GPU_CASE_SECONDS: tests/gpu/rehearse, on a CPU.)
CASE_SECONDS = int(os.environ.get("LLMC_GPU_CASE_SECONDS", 20))
# Behind so many cases that hung, others would too: the time is better spent elsewhere.
MOST_HANGS = 3
# Little of a small model's time is the GPU's: several at once.
AT_ONCE = max(1, min(8, (os.cpu_count() or 1) // 2))
hangs = 0


def finished(command, seconds=CASE_SECONDS):
    """(exit status, stdout, stderr) of a command; the status is None where it hung."""
    global hangs
    # What hangs in the driver may not end when it is asked to.
    done = subprocess.run(["timeout", "-k", "5", str(seconds), *command], capture_output=True, text=True, errors="replace")
    if done.returncode in (124, 137, -9):
        hangs += 1
        return None, done.stdout, f"hung: killed after {seconds} s"
    return done.returncode, done.stdout, done.stderr


def execute(command, seconds=CASE_SECONDS):
    """(stdout, stderr); (None, why) where it failed or hung: the other cases still run."""
    code, out, error = finished(command, seconds)
    if code == 0:
        return out, error
    return None, error if code is None else f"exit {code}: {error.strip()[-600:]}"


def llmrun(plan, *flags, seconds=CASE_SECONDS):
    """What --json gave, and why it gave nothing."""
    text, error = execute(["./llmrun", plan, "--json", *flags], seconds)
    return (None, error) if text is None else (json.loads(text), "")


def say(**line):
    print(json.dumps(line), flush=True)
    return "error" not in line and line.get("ok", True)


def say_all(step, case, cases, at_once=AT_ONCE):
    """Prints case(*arguments), a line, as each is known; whether all were "ok", where they say so, and none failed."""
    good, left_out = True, 0
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(lambda a: None if hung() else case(*a), arguments) for arguments in cases]
        for future in concurrent.futures.as_completed(futures):
            line = future.result()
            left_out += line is None
            good = line is not None and say(**line) and good
    if left_out:
        say(step=step, skipped=f"{left_out} cases: {hangs} others hung")
    return good


def prompts(length):
    """Ids that every plan here has."""
    return ",".join(str(3 + i * 7919 % 497) for i in range(length))


def sanitized(step, tool, plan, flags, seconds):
    """compute-sanitizer's word on a run of llmrun: a line."""
    line = {"step": step, "tool": tool, "plan": plan}
    code, out, error = finished(["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "./llmrun", plan, "--device", "cuda",
                                 *flags], seconds)
    if code in (126, 127):
        return {**line, "skipped": "no compute-sanitizer"}
    # Where a machine keeps it from the GPU, it is no word on ours.
    if "Device not supported" in out + error:
        return {**line, "skipped": "compute-sanitizer: device not supported"}
    if code is None:
        return {**line, "skipped": error}
    return {**line, "ok": True} if code == 0 else {**line, "ok": False, "exit": code, "output": (out + error)[-1500:]}


def hung():
    """Whether a step is to stop."""
    return hangs >= MOST_HANGS


def main(steps):
    """Ends with status 3 where something hung, which `run` remembers."""
    good = steps[sys.argv[1]]()
    sys.exit(3 if hangs else 0 if good else 1)
