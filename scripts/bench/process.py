"""Running programs with a time limit, and looking at processes and mounts. Never touches a mount itself: it may hang."""

import os
import pathlib
import signal
import subprocess
import time


class Failure(Exception):
    """A step did not work; the text says why, in one line."""


def run(command, limit, cwd=None, env=None):
    """Runs `command` for at most `limit` seconds; its stdout."""
    child = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    name = pathlib.Path(str(command[0])).name
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        end_group(child)
        raise Failure(f"`{name}` was still running after {limit} s") from None
    except BaseException:
        end_group(child)
        raise
    if child.returncode != 0:
        lines = [line for line in (err + out).splitlines() if line.strip()]
        raise Failure(f"`{name}` ended with {child.returncode}: {lines[-1].strip() if lines else 'no message'}")
    return out


def end_group(child):
    """Ends `child` and what it started. One that hangs in the kernel is left behind."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        child.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        pass


def cpu_seconds(pid):
    """Processor time that process `pid` has used, all its threads together."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    """The most memory that process `pid` had resident, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Failure("the process has no memory figures: it has ended")


def mounts_below(directory):
    """Mount points at or below `directory`, the deepest first."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == str(directory) or point.startswith(f"{directory}/"):
            found.append(point)
    return sorted(found, key=len, reverse=True)


def clear(directory):
    """Detaches every mount below `directory` and removes it, unless a mount stays."""
    for point in mounts_below(directory):
        subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)
    if mounts_below(directory):
        print(f"Something is still mounted below {directory}: not removed.", flush=True)
        return
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=False)


def wait_until(condition, limit, what):
    """Waits for `condition`, at most `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what} took more than {limit} s")
        time.sleep(0.01)
