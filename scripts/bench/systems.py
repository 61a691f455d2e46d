"""What is compared. Each system keeps files below one directory of the disk and shows them at `work`."""

import os
import pathlib
import subprocess

from process import Failure, clear, cpu_seconds, mounts_below, peak_memory, run, wait_until

STEP = 60


class System:
    """A place to put files. `open` makes it anew, `close` removes it."""

    name = "bare"
    title = "bare directory"
    pid = None

    def __init__(self, scratch, programs, images):
        self.home = pathlib.Path(scratch) / self.name
        self.programs = programs
        self.images = images
        self.memory = 0.0

    def open(self):
        self.make_home()
        run(["mkdir", self.work], STEP)

    def make_home(self):
        """An empty directory; in a file system of its own if `images`, so that nobody inherits another's traces.

        ext4 avoids inodes that were deleted in the last minutes, one by one: after a few thousand deletions creating a
        file takes a hundred times as long, for whoever comes next.
        """
        clear(self.home)
        self.home.mkdir(parents=True)
        if not self.images:
            return
        image = self.home.with_suffix(".img")
        image.unlink(missing_ok=True)
        run(["truncate", "-s", IMAGE_SIZE, image], STEP)
        run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image], STEP)
        run(["mount", "-o", "loop,relatime,noinit_itable", image, self.home], STEP)

    @property
    def work(self):
        return self.home / "work"

    def remount(self):
        """Forgets every plaintext and name that the kernel keeps. Nothing to do where the disk is used directly."""

    def cpu(self):
        """Processor seconds that its daemon has used."""
        return 0.0

    def close(self):
        self.remove_home()

    def remove_home(self):
        clear(self.home)
        self.home.with_suffix(".img").unlink(missing_ok=True)


class Mounted(System):
    """A file system in a process of its own, started in the foreground so that its figures can be read."""

    daemon = None
    # Of those systems that have a choice.
    transport = "auto"

    @property
    def stored(self):
        return self.home / "stored"

    @property
    def point(self):
        return self.home / "mnt"

    @property
    def work(self):
        return self.point / "work"

    def open(self):
        self.make_home()
        self.point.mkdir()
        self.create()
        self.mount()
        run(["mkdir", self.work], STEP)

    def create(self):
        """Makes the empty store."""

    def command(self):
        """What serves the mount in the foreground."""
        raise NotImplementedError

    def mount(self):
        log = open(self.home / "log", "ab")
        words = [str(word) for word in self.command()]
        self.daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        wait_until(lambda: self.is_mounted() or self.daemon.poll() is not None, 30, "mounting")
        if self.daemon.poll() is not None:
            raise Failure(f"the mount did not come up: {self.last_words()}")

    def is_mounted(self):
        return str(self.point) in mounts_below(self.point)

    def last_words(self):
        lines = (self.home / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def remount(self):
        self.unmount()
        self.mount()

    def unmount(self):
        """Takes the mount down and waits until its process has ended, which is when everything is stored."""
        if self.daemon is None:
            return
        if self.daemon.poll() is None:
            self.memory = max(self.memory, peak_memory(self.daemon.pid))
            try:
                run(["umount", self.point], STEP)
                self.daemon.wait(STEP)
            except (Failure, subprocess.TimeoutExpired) as error:
                self.kill()
                raise Failure(f"unmounting: {error}") from None
        code, self.daemon = self.daemon.returncode, None
        if code != 0:
            raise Failure(f"the daemon ended with {code}: {self.last_words()}")

    def kill(self):
        """The daemon is ours and does not react."""
        subprocess.run(["umount", "-l", str(self.point)], check=False, stderr=subprocess.DEVNULL)
        if self.daemon is not None:
            self.daemon.kill()
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                pass
            self.daemon = None

    def cpu(self):
        return cpu_seconds(self.daemon.pid)

    def close(self):
        try:
            self.unmount()
        finally:
            self.kill()
            self.remove_home()


class Gocryptfs(Mounted):
    name = "gocryptfs"
    title = "gocryptfs"

    def create(self):
        self.stored.mkdir()
        self.password = self.home / "password"
        self.password.write_text("a password for measuring\n")
        # The cost of the password counts only at mount time.
        run(["gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", self.password, self.stored], STEP)

    def command(self):
        return ["gocryptfs", "-fg", "-q", "-passfile", self.password, self.stored, self.point]


class Passthrough(Mounted):
    name = "passthrough"
    title = "FUSE passthrough"

    def create(self):
        self.stored.mkdir()

    def command(self):
        words = [self.programs / "examples" / "passthrough", self.stored, self.point]
        return words if self.transport == "auto" else [*words, self.transport]


class Strongroom(Mounted):
    name = "strongroom"
    title = "strongroom"
    bucket_options = ()

    @property
    def work(self):
        return self.point / BUCKET / "work"

    def create(self):
        # A configuration of its own, so that none that happens to be installed changes the figures.
        self.config, self.key = self.home / "strongroom.toml", self.home / "key"
        self.config.write_text('[log]\nlevel = "warn"\n')
        self.call("init", self.stored)
        self.call("bucket", "create", *self.bucket_options, self.stored, BUCKET)

    def call(self, *words):
        run([self.program, "--config", self.config, *words, "--key-file", self.key], STEP)

    @property
    def program(self):
        return self.programs / "strongroom"

    def command(self):
        options = ["--config", self.config, "--key-file", self.key, "--foreground", "--transport", self.transport]
        return [self.program, "mount", *options, self.stored, self.point]


class StrongroomWithoutJournal(Strongroom):
    name = "no-journal"
    title = "strongroom, journal off"
    bucket_options = ("--journal", "off")


class StrongroomOverDevFuse(Strongroom):
    name = "classic"
    title = "strongroom over `/dev/fuse`"
    transport = "classic"


def all_systems(scratch, programs, wanted, images, transport):
    """The systems to measure; the old transport beside the new one only where that is in use."""
    Passthrough.transport = Strongroom.transport = transport
    kinds = [System, Gocryptfs, Passthrough, Strongroom, StrongroomWithoutJournal]
    if transport == "uring" or "classic" in wanted:
        kinds.append(StrongroomOverDevFuse)
    unknown = set(wanted) - {kind.name for kind in kinds}
    if unknown:
        raise SystemExit(f"No system is called {', '.join(sorted(unknown))}.")
    return [kind(scratch, programs, images) for kind in kinds if not wanted or kind.name in wanted]


def versions(programs):
    """What the systems call themselves."""
    first = lambda text: text.strip().splitlines()[0]
    return ", ".join(
        [
            first(run(["gocryptfs", "--version"], STEP)).split(";")[0],
            first(run([programs / "strongroom", "--version"], STEP)),
        ]
    )


class Switch:
    """FUSE over io_uring, switched on in the kernel for as long as is measured."""

    path = pathlib.Path("/sys/module/fuse/parameters/enable_uring")

    def __enter__(self):
        self.before = self.path.read_text().strip() if self.path.exists() else None
        if self.before == "N":
            self.path.write_text("Y")
        return self

    def __exit__(self, *_):
        if self.before == "N":
            self.path.write_text("N")

    def best(self):
        """The transport to measure."""
        return "classic" if self.before is None else "uring"


BUCKET = "bench"
IMAGE_SIZE = "16G"
CLEAN_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
}
