"""The works that are measured, in groups. A group is a list of steps on a freshly made system; a step may measure."""

import dataclasses
import json
import os
import pathlib
import sys
import time

from process import Failure, run
from systems import CLEAN_ENVIRONMENT

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Measure:
    """One line of the table. `aims` are ratios against other systems that strongroom shall reach (or not exceed)."""

    name: str
    title: str
    unit: str
    aims: dict
    cost: bool = False


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is done."""

    rounds: int
    stream_mib: int
    random_mib: int
    syncs: int
    files: int
    tree_files: int
    limit: int


QUICK = Sizes(rounds=3, stream_mib=128, random_mib=32, syncs=100, files=500, tree_files=500, limit=60)
FULL = Sizes(rounds=5, stream_mib=1024, random_mib=256, syncs=1000, files=5000, tree_files=8000, limit=900)

MEASURES = [
    Measure("seq-write", "sequential write, 1 MiB", "MiB/s", {"gocryptfs": 1.5, "passthrough": 0.85, "no-journal": 0.97}),
    Measure("seq-read", "sequential read, 1 MiB", "MiB/s", {"gocryptfs": 1.5, "passthrough": 0.85, "no-journal": 0.97}),
    Measure("cpu-write", "daemon CPU per GiB written", "s", {"gocryptfs": 0.4}, cost=True),
    Measure("cpu-read", "daemon CPU per GiB read", "s", {"gocryptfs": 0.4}, cost=True),
    Measure("rand-read", "random read 4 KiB, 1 thread", "1/s", {"gocryptfs": 3, "passthrough": 0.8}),
    Measure("rand-read-4", "random read 4 KiB, 4 threads", "1/s", {"gocryptfs": 3, "passthrough": 0.8}),
    Measure("rand-write", "random overwrite 4 KiB", "1/s", {}),
    Measure("rand-write-sync", "random overwrite 4 KiB, fsync each", "1/s", {"gocryptfs": 4, "bare": 0.8}),
    Measure("append-sync", "append 100 B, fdatasync each", "1/s", {}),
    Measure("sqlite-delete", "sqlite commit, rollback journal", "1/s", {"gocryptfs": 1}),
    Measure("sqlite-wal", "sqlite commit, WAL", "1/s", {"gocryptfs": 1}),
    Measure("create", "create an empty file", "1/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("create4k", "create and write 4 KiB", "1/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("read4k", "open and read 4 KiB", "1/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("stat", "list and stat a cold tree", "1/s", {"gocryptfs": 2, "passthrough": 0.7}),
    Measure("rename", "rename", "1/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("unlink", "unlink", "1/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("untar", "unpack a source tree", "files/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("git-status", "`git status`, cold", "files/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("rsync", "`rsync -a`, nothing changed", "files/s", {"gocryptfs": 3, "passthrough": 0.7}),
    Measure("memory", "peak memory of the daemon", "MiB", {"gocryptfs": 1}, cost=True),
]

# The steps of each group: the measure that a step gives (or None), and the method that does it.
GROUPS = {
    "stream": [("seq-write", "write_stream"), (None, "cool"), ("seq-read", "read_stream")],
    "random": [
        (None, "make_big"),
        (None, "cool"),
        ("rand-read", "read_random"),
        (None, "cool"),
        ("rand-read-4", "read_random_4"),
        ("rand-write", "overwrite"),
    ],
    "sync": [
        (None, "make_big"),
        (None, "settle"),
        ("rand-write-sync", "overwrite_sync"),
        ("append-sync", "append_sync"),
        ("sqlite-delete", "sqlite_delete"),
        ("sqlite-wal", "sqlite_wal"),
    ],
    "small": [
        ("create", "create"),
        ("create4k", "create4k"),
        (None, "cool"),
        ("stat", "stat"),
        (None, "cool"),
        ("read4k", "read4k"),
        ("rename", "rename"),
        ("unlink", "unlink"),
    ],
    "tree": [
        ("untar", "untar"),
        (None, "refresh_index"),
        (None, "cool"),
        ("git-status", "git_status"),
        (None, "cool"),
        ("rsync", "rsync"),
    ],
}

# What a step measures besides.
ALSO = {"seq-write": "cpu-write", "seq-read": "cpu-read"}


class Works:
    """Does the steps on one system. Each step gives `{measure: value}`."""

    def __init__(self, system, sizes, programs, tree, drop_caches):
        self.system, self.sizes, self.tree, self.drop_caches = system, sizes, tree, drop_caches
        self.driver_program = programs / "examples" / "bench-driver"

    def path(self, *names):
        return self.system.work.joinpath(*names)

    def driver(self, work, count, directory="files"):
        out = run([self.driver_program, work, self.path(directory), count], self.sizes.limit)
        done, seconds = out.split()
        return float(done) / float(seconds)

    # Caches

    def cool(self):
        self.system.remount()
        if self.drop_caches:
            os.sync()
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return {}

    def settle(self):
        """What was written before shall not be written during the next step."""
        os.sync()
        return {}

    # Streams

    def stream(self, work, measure, cpu_measure):
        begin = self.system.cpu()
        rate = self.driver(work, self.sizes.stream_mib, "stream")
        used = self.system.cpu() - begin
        return {measure: rate, cpu_measure: used * 1024 / self.sizes.stream_mib}

    def write_stream(self):
        return self.stream("write", "seq-write", "cpu-write")

    def read_stream(self):
        return self.stream("read-stream", "seq-read", "cpu-read")

    # Random access

    def make_big(self):
        self.driver("write", self.sizes.random_mib, "big")
        return {}

    def fio(self, rw, *options):
        words = ["fio", "--name=random", f"--filename={self.path('big', 'stream')}", f"--rw={rw}", "--bs=4k"]
        words += ["--ioengine=psync", "--fallocate=none", "--invalidate=0", "--fadvise_hint=random", "--randrepeat=1"]
        words += ["--thread", "--group_reporting", "--output-format=json", *options]
        out = run(words, self.sizes.limit)
        job = json.loads(out[out.index("{") :])["jobs"][0]
        side = job["read" if rw == "randread" else "write"]
        if job["error"] != 0 or side["total_ios"] == 0:
            raise Failure(f"fio reports error {job['error']}")
        return side["iops"]

    def read_random(self):
        return {"rand-read": self.fio("randread", f"--size={self.sizes.random_mib}m")}

    def read_random_4(self):
        quarter = self.sizes.random_mib // 4
        options = ["--numjobs=4", f"--size={quarter}m", f"--offset_increment={quarter}m"]
        return {"rand-read-4": self.fio("randread", *options)}

    def overwrite(self):
        return {"rand-write": self.fio("randwrite", f"--size={self.sizes.random_mib}m")}

    def overwrite_sync(self):
        options = [f"--size={self.sizes.random_mib}m", f"--io_size={self.sizes.syncs * 4}k", "--fsync=1"]
        return {"rand-write-sync": self.fio("randwrite", *options)}

    # Durable changes

    def append_sync(self):
        return {"append-sync": self.driver("append", self.sizes.syncs)}

    def sqlite(self, mode):
        self.settle()
        words = [sys.executable, HERE / "sqlite_commits.py", self.path(f"{mode}.db"), mode, self.sizes.syncs]
        done, seconds = run(words, self.sizes.limit).split()
        return {f"sqlite-{mode}": float(done) / float(seconds)}

    def sqlite_delete(self):
        return self.sqlite("delete")

    def sqlite_wal(self):
        return self.sqlite("wal")

    # Small files

    def create(self):
        return {"create": self.driver("create", self.sizes.files)}

    def create4k(self):
        return {"create4k": self.driver("create4k", self.sizes.files)}

    def stat(self):
        return {"stat": self.driver("stat", self.sizes.files)}

    def read4k(self):
        return {"read4k": self.driver("read", self.sizes.files)}

    def rename(self):
        return {"rename": self.driver("rename", self.sizes.files)}

    def unlink(self):
        return {"unlink": self.driver("unlink", self.sizes.files)}

    # A source tree

    def timed(self, words, cwd=None):
        begin = time.perf_counter()
        out = run(words, self.sizes.limit, cwd=cwd, env=CLEAN_ENVIRONMENT)
        return self.tree.count / (time.perf_counter() - begin), out

    def untar(self):
        run(["mkdir", self.path("tree")], self.sizes.limit)
        rate, _ = self.timed(["tar", "--no-same-owner", "-C", self.path("tree"), "-xf", self.tree.archive])
        return {"untar": rate}

    def refresh_index(self):
        """The index remembers inode numbers and times, which an unpacked tree has anew."""
        self.system.remount()
        run(["git", "update-index", "-q", "--refresh"], self.sizes.limit, self.path("tree"), CLEAN_ENVIRONMENT)
        return {}

    def git_status(self):
        rate, out = self.timed(["git", "status", "--porcelain"], self.path("tree"))
        if out:
            raise Failure(f"git sees changes where there are none: {out.splitlines()[0]}")
        return {"git-status": rate}

    def rsync(self):
        words = ["rsync", "-a", "--delete", "--itemize-changes", "--exclude=/.git"]
        rate, out = self.timed([*words, f"{self.tree.source}/", f"{self.path('tree')}/"])
        changes = [line for line in out.splitlines() if not line.endswith(" ./")]
        if changes:
            raise Failure(f"rsync sees changes where there are none: {changes[0]}")
        return {"rsync": rate}
