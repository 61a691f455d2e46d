"""Measures systems side by side: rounds of groups of works, the systems in turn within each. See ../bench.sh."""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import signal
import sys
import traceback
import types

import report
import source_tree
import systems
from process import Failure, clear
from works import ALSO, FULL, GROUPS, MEASURES, QUICK, Works

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
PAGE = PROJECT / "src/docs/performance.md"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="three rounds of small works, under three minutes; writes no page unless --out")
    add("--rounds", type=int, metavar="N", help="rounds, of which the median counts (quick: 3, else 5)")
    add("--only", action="append", default=[], metavar="NAME", help="only this group or measure; may be repeated")
    add("--systems", default="", metavar="LIST", help="only these, separated by commas: bare,gocryptfs,passthrough,...")
    add("--out", metavar="FILE", help="page to write the table into, with the chart beside it [src/docs/performance.md]")
    add("--raw", metavar="FILE", help="all single values as JSON")
    add("--dir", metavar="DIR", help="directory on the disk to measure [target/bench]")
    add("--tmpfs", action="store_true", help="measure in memory instead: a tmpfs of its own")
    add("--no-images", action="store_true", help="measure in the directory itself, not in a fresh ext4 image for each group")
    add("--files", type=int, metavar="N", help="number of small files (quick: 500, else 5000)")
    add("--stream", type=int, metavar="MIB", help="size of the sequential file (quick: 128, else 1024)")
    add("--tree", type=pathlib.Path, metavar="DIR", help="a source tree to unpack instead of the generated one")
    add("--transport", choices=["classic", "uring"], help="of strongroom and the passthrough [uring, where the kernel has it]")
    add("--cores", type=int, metavar="N", help="let everything run on the first N cores only")
    add("--drop-caches", action="store_true", help="also drop the disk's cache before works that want a cold start")
    add("--no-build", action="store_true", help="use the release build that is there")
    add("--list", action="store_true", help="list groups and measures")
    add("--called-from", default=os.getcwd(), help=argparse.SUPPRESS)
    return parser.parse_args()


def sizes_of(options):
    sizes = QUICK if options.quick else FULL
    given = {"rounds": options.rounds, "files": options.files, "stream_mib": options.stream}
    return dataclasses.replace(sizes, **{name: value for name, value in given.items() if value is not None})


def selected(only):
    """The groups to run and the measures to show."""
    if not only:
        return list(GROUPS), MEASURES
    known = {*GROUPS, *(measure.name for measure in MEASURES)}
    if unknown := set(only) - known:
        raise SystemExit(f"Nothing is called {', '.join(sorted(unknown))}: see --list.")
    gives = lambda group: {name for step, _ in GROUPS[group] for name in (step, ALSO.get(step)) if name}
    groups = [group for group in GROUPS if group in only or gives(group) & set(only) or "memory" in only]
    shown = set(only).union(*(gives(group) for group in groups if group in only))
    return groups, [measure for measure in MEASURES if measure.name in shown]


class Results:
    """Values and failures by measure and system."""

    def __init__(self):
        self.values, self.failures = {}, {}

    def add(self, measure, system, value):
        self.values.setdefault(measure, {}).setdefault(system, []).append(value)

    def fail(self, measure, system, reason):
        self.failures.setdefault(measure, {})[system] = reason


def run_group(group, system, works, results):
    """All steps of a group on one system. What cannot be done any more is noted as failed, with the reason."""
    broken = None
    try:
        system.open()
    except Failure as failure:
        broken = str(failure)
    for measure, step in GROUPS[group]:
        try:
            if broken:
                raise Failure(broken)
            for name, value in getattr(works, step)().items():
                results.add(name, system.name, value)
        except (Failure, OSError, ValueError) as failure:
            reason = " ".join(str(failure).split()) or type(failure).__name__
            if measure is None:
                broken = broken or f"{step}: {reason}"
            for name in filter(None, (measure, ALSO.get(measure))):
                results.fail(name, system.name, reason)
                print(f"  {system.name}: {name} failed: {reason}", file=sys.stderr, flush=True)
    try:
        system.close()
    except Failure as failure:
        results.fail("memory", system.name, str(failure))
        print(f"  {system.name}: {failure}", file=sys.stderr, flush=True)


def measure_all(groups, everyone, sizes, make_works, results):
    for number in range(sizes.rounds):
        for group in groups:
            # Another one goes first in every round, so that nobody always inherits the same state of the disk.
            turn = number % len(everyone)
            for system in everyone[turn:] + everyone[:turn]:
                clock = datetime.datetime.now().strftime("%H:%M:%S")
                print(f"{clock} round {number + 1}/{sizes.rounds}: {group} on {system.name}", file=sys.stderr, flush=True)
                os.sync()
                run_group(group, system, make_works(system), results)
    for system in everyone:
        if system.memory:
            results.add("memory", system.name, system.memory)


def scratch_below(base):
    """A directory of this run. What runs that died left behind goes first."""
    base.mkdir(parents=True, exist_ok=True)
    for left in base.glob("run-*"):
        if not pathlib.Path("/proc", left.name.removeprefix("run-")).exists():
            clear(left)
    scratch = base / f"run-{os.getpid()}"
    scratch.mkdir()
    return scratch.resolve()


def interrupted(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def listing():
    titles = {measure.name: measure.title for measure in MEASURES}
    for group, steps in GROUPS.items():
        print(group)
        for name in (name for step, _ in steps for name in (step, ALSO.get(step)) if name):
            print(f"  {name:16} {titles[name]}")
    print(f"{'memory':18} {titles['memory']}")


def main():
    options = arguments()
    if options.list:
        return listing()
    groups, shown = selected(options.only)
    sizes, caller = sizes_of(options), pathlib.Path(options.called_from)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    # A message shall be the last line that a failed program prints.
    os.environ.pop("RUST_BACKTRACE", None)
    load = os.getloadavg()[0]
    scratch = scratch_below(caller / options.dir if options.dir else PROJECT / "target/bench")
    try:
        with systems.Switch() as switch:
            options.transport = options.transport or switch.best()
            return measure_in(scratch, options, groups, shown, sizes, caller, load)
    except KeyboardInterrupt as signalled:
        print(f"Interrupted ({signalled}): cleaning up.", file=sys.stderr)
        return 130
    finally:
        clear(scratch)


def measure_in(scratch, options, groups, shown, sizes, caller, load):
    place = scratch / "disk"
    place.mkdir()
    if options.tmpfs:
        systems.run(["mount", "-t", "tmpfs", "-o", "size=80%", "bench", place], 10)
    programs = PROJECT / "target/release"
    tree = make_tree(scratch, sizes, options.tree and caller / options.tree) if "tree" in groups else None
    images = not options.tmpfs and not options.no_images
    wanted = [name for name in options.systems.split(",") if name]
    everyone, results = systems.all_systems(place, programs, wanted, images, options.transport), Results()
    if options.quick and not wanted:
        everyone = [system for system in everyone if system.name != "classic"]
    try:
        make_works = lambda system: Works(system, sizes, programs, tree, options.drop_caches)
        measure_all(groups, everyone, sizes, make_works, results)
    finally:
        for system in everyone:
            close_quietly(system)
    facts = report.Facts.gather(place, sizes, images, options, load, systems.versions(programs))
    publish(options, caller, facts, shown, everyone, results)
    return 1 if results.failures else 0


def make_tree(scratch, sizes, model):
    print("Preparing a source tree ...", file=sys.stderr, flush=True)
    source, archive = source_tree.make(scratch, sizes.tree_files, model)
    count = sum(1 for path in source.rglob("*") if path.is_file() and ".git" not in path.relative_to(source).parts)
    return types.SimpleNamespace(source=source, archive=archive, count=count)


def close_quietly(system):
    try:
        system.close()
    except Failure:
        traceback.print_exc()


def publish(options, caller, facts, shown, everyone, results):
    table = report.markdown(facts, shown, everyone, results)
    print(table)
    if options.raw:
        raw = {"facts": dataclasses.asdict(facts), "values": results.values, "failures": results.failures}
        (caller / options.raw).write_text(json.dumps(raw, indent=1) + "\n")
    page = caller / options.out if options.out else None
    if page is None and not options.quick and not options.only and not options.systems:
        page = PAGE
    if page is not None:
        chart = page.with_suffix(".svg")
        chart.write_text(report.svg(facts, shown, results))
        report.put_into(page, f"{table}\n![Speed against gocryptfs]({chart.name})\n")
        print(f"Written: {page} and {chart}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
