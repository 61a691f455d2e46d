"""Results as a Markdown table and as an SVG chart."""

import dataclasses
import datetime
import math
import os
import pathlib
import statistics
from xml.sax.saxutils import escape

from process import Failure, run

OURS = "strongroom"
PEERS = ["gocryptfs", "passthrough", "bare", "no-journal", "classic"]
BEGIN = "<!-- figures: written by scripts/bench.sh -->"
END = "<!-- end of figures -->"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Where and how figures were taken."""

    machine: str
    disk: str
    versions: str
    transport: str
    sizes: dict
    load: float
    date: str

    @classmethod
    def gather(cls, place, sizes, images, options, load, versions):
        cores = len(os.sched_getaffinity(0))
        gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        machine = f"{cores} cores ({processor()}), {gib:.0f} GiB memory, Linux {os.uname().release}"
        kind = run(["stat", "-f", "-c", "%T", place], 10).strip()
        kind = ("a fresh ext4 image on " if images else "") + {"ext2/ext3": "ext4"}.get(kind, kind)
        kind += ", its cache dropped" if options.drop_caches else ""
        date = datetime.date.today().isoformat()
        return cls(machine, kind, f"{versions}{commit()}", options.transport, dataclasses.asdict(sizes), load, date)

    def lines(self):
        sizes = self.sizes
        rounds = "1 round" if sizes["rounds"] == 1 else f"medians of {sizes['rounds']} rounds"
        yield f"{self.machine}; files on {self.disk}; {self.versions}; {self.date}."
        yield f"Transport of strongroom and of the passthrough: {self.transport}; gocryptfs knows `/dev/fuse` only."
        yield (
            f"{rounds.capitalize()}; {sizes['stream_mib']} MiB streams, {sizes['random_mib']} MiB accessed at random, "
            f"{sizes['syncs']} durable changes, {sizes['files']} small files, a tree of {sizes['tree_files']} files."
        )
        if self.load > 0.5:
            yield (
                f"**The machine was busy with other work** (load {self.load:.1f} at the start): absolute values are too "
                "low, and ratios uncertain."
            )


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit():
    here = pathlib.Path(__file__).resolve().parent
    try:
        return f" ({run(['git', 'describe', '--always', '--dirty'], 10, cwd=here).strip()})"
    except (Failure, OSError):
        return ""


def median(results, measure, system):
    values = results.values.get(measure, {}).get(system)
    return statistics.median(values) if values else None


def ratio(results, measure, peer, system=OURS):
    """Value of `system` divided by that of `peer`; `None` where there is nothing to compare."""
    ours, theirs = median(results, measure, system), median(results, measure, peer)
    return ours / theirs if ours is not None and theirs else None


def reached(measure, value, aim):
    """Whether the ratio is good enough, as it is printed."""
    value = round(value, 2)
    return value <= aim if measure.cost else value >= aim


def markdown(facts, measures, systems, results):
    names = {system.name for system in systems}
    peers = [peer for peer in PEERS if peer in names and OURS in names]
    heads = ["work", "unit", *(system.title for system in systems)]
    heads += [f"{OURS} : {peer}" for peer in peers]
    lines = [*facts.lines(), "", row(heads), row(["---", "---", *["--:"] * (len(heads) - 2)])]
    notes = []
    for measure in measures:
        cells = [measure.title, measure.unit]
        cells += [cell(results, measure.name, system, notes) for system in systems]
        cells += [ratio_cell(results, measure, peer) for peer in peers]
        lines.append(row(cells))
    if notes:
        lines += ["", "Failed:", "", *notes]
    return "\n".join(lines) + "\n"


def row(cells):
    return f"| {' | '.join(cells)} |"


def cell(results, measure, system, notes):
    value = median(results, measure, system.name)
    reason = results.failures.get(measure, {}).get(system.name)
    if reason:
        notes.append(f"- {measure} on {system.name}: {reason}")
    if value is None:
        return "failed" if reason else "-"
    return number(value) + (" (some rounds failed)" if reason else "")


def ratio_cell(results, measure, peer):
    value, aim = ratio(results, measure.name, peer), measure.aims.get(peer)
    if value is None:
        return "-"
    if aim is None:
        return f"{value:.2f}"
    sign = "≤" if measure.cost else "≥"
    shown = f"{value:.2f}" if reached(measure, value, aim) else f"**{value:.2f}**"
    return f"{shown} ({sign} {aim:g})"


def number(value):
    if value >= 10000:
        return f"{value / 1000:.0f} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def put_into(page, figures):
    """Replaces what stands between the markers of `page`; a page without markers becomes the figures alone."""
    old = page.read_text() if page.exists() else ""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        page.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}")
    else:
        page.write_text(figures)


# The chart: how many times as fast as gocryptfs, on a logarithmic scale. Longer is better for every work.

LEFT, WIDTH, LINE, TOP = 270, 520, 26, 64
LEAST, MOST = 0.1, 100
COLOURS = {OURS: "#1f5fa8", "passthrough": "#9a6b00", "bare": "#777777"}


def svg(facts, measures, results):
    shown = [measure for measure in measures if ratio(results, measure.name, "gocryptfs") is not None]
    height = TOP + LINE * len(shown) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(12, 22, "Times as good as gocryptfs (logarithmic; right is better)", 'font-size="15" font-weight="bold"'),
        *legend(),
        *grid(height),
    ]
    for number_, measure in enumerate(shown):
        parts += bar(results, measure, TOP + LINE * number_)
    parts.append(text(12, height - 10, f"{facts.machine}; {facts.date}", 'fill="#777" font-size="10"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def text(x, y, content, style=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(content)}</text>'


def place(value):
    share = math.log(min(max(value, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + WIDTH * share


def legend():
    names = [(OURS, OURS), ("passthrough", "FUSE passthrough, no encryption"), ("bare", "bare directory"), ("", "aim")]
    x = LEFT
    for key, title in names:
        shape = f'<rect x="{x}" y="34" width="10" height="10" fill="{COLOURS.get(key, "#c22")}"/>'
        yield shape + text(x + 14, 43, title)
        x += 40 + 7 * len(title)


def grid(height):
    for value in (0.1, 0.3, 1, 3, 10, 30, 100):
        x, width = place(value), 2 if value == 1 else 1
        yield f'<line x1="{x:.0f}" y1="{TOP - 8}" x2="{x:.0f}" y2="{height - 34}" stroke="#ddd" stroke-width="{width}"/>'
        yield text(x, height - 22, f"{value:g}", 'text-anchor="middle" fill="#777"')


def bar(results, measure, y):
    better = lambda value: 1 / value if measure.cost else value
    ours = better(ratio(results, measure.name, "gocryptfs"))
    begin, end = sorted((place(1), place(ours)))
    yield text(LEFT - 8, y + 14, measure.title.replace("`", ""), 'text-anchor="end"')
    yield f'<rect x="{begin:.1f}" y="{y + 2}" width="{max(end - begin, 1):.1f}" height="16" fill="{COLOURS[OURS]}"/>'
    for other in ("passthrough", "bare"):
        value = ratio(results, measure.name, "gocryptfs", other)
        if value:
            yield f'<rect x="{place(better(value)) - 2:.1f}" y="{y}" width="4" height="20" fill="{COLOURS[other]}"/>'
    if aim := measure.aims.get("gocryptfs"):
        yield f'<rect x="{place(better(aim)) - 1:.1f}" y="{y - 2}" width="2" height="24" fill="#c22"/>'
    yield text(LEFT + WIDTH + 14, y + 14, f"{ours:.2f}")
