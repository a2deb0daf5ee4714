"""The results as SVG: a panel for each set, recall to the right, queries a second upwards."""

import html
import math

from ann_peers import K, PEERS
from ann_results import OURS

WIDE, HIGH, LEFT, TOP, GAP, ACROSS = 250, 250, 48, 34, 64, 3
TICKS = [0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999]
ENTRY, LINE = 176, 20
# The peers' can be read on white and on black; what cannot be has a shade for each.
COLOURS = ["#3b82c4", "#2a9d5c", "#d98f00", "#b86bb0", "#12a5b8", "#a9744a", "#808890"]
STYLE = """
.paper { fill: #ffffff } text { fill: #1f2328 } .ours { stroke: #d01c1c } .dot { fill: #d01c1c }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 } .ours { stroke: #ff5c5c } .dot { fill: #ff5c5c }
}
"""


def depth(recall):
    """Stretches the high end: each halving of what is missed is as wide."""
    return -math.log(1 - recall)


def text(x, y, what, anchor="middle", more=""):
    what = html.escape(what)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{what}</text>'


def path(points, style):
    corners = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="M{corners}" fill="none" {style}/>'


def dot(x, y):
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>'


def style(name):
    """Ours thick, graphs whole, quantisers dashed."""
    if name == OURS:
        return 'class="ours" stroke-width="3" stroke-linejoin="round"'
    colour = dict(zip(PEERS, COLOURS))[name]
    dashes = "" if PEERS[name].graph else ' stroke-dasharray="5 3"'
    return f'stroke="{colour}" stroke-width="1.6"{dashes}'


def seen(curve):
    """The part of a curve that is in the plot."""
    first, last = TICKS[0], TICKS[-1]
    front = curve.front()
    inside = [point for point in front if first <= point[0] <= last]
    if front and front[0][0] < first < front[-1][0]:
        inside.insert(0, (first, curve.rate(first)))
    if front and front[0][0] < last < front[-1][0]:
        inside.append((last, curve.rate(last)))
    return inside


def rungs(rates):
    """1, 2, 5, 10 and so on, from just below the rates to just above."""
    steps = [m * 10**e for e in range(8) for m in (1, 2, 5)]
    low = max((s for s in steps if s <= min(rates)), default=1)
    high = min((s for s in steps if s > max(rates)), default=steps[-1])
    return [s for s in steps if low <= s <= high]


def panel(name, curves, left, top):
    drawn = [(curve.name, seen(curve)) for curve in curves]
    rates = rungs([rate for _, points in drawn for _, rate in points] or [1])
    right, bottom = left + WIDE, top + HIGH
    begin, end = depth(TICKS[0]), depth(TICKS[-1])
    floor, ceiling = math.log(rates[0]), math.log(rates[-1])

    def at(recall, rate):
        x = left + WIDE * (depth(recall) - begin) / (end - begin)
        return x, bottom - HIGH * (math.log(rate) - floor) / (ceiling - floor)

    grid = 'stroke="#808080" stroke-opacity="0.25"'
    yield text((left + right) / 2, top - 12, name, more=' font-weight="bold"')
    for recall in TICKS:
        x, _ = at(recall, rates[0])
        yield path([(x, top), (x, bottom)], grid)
        yield text(x, bottom + 16, f"{recall:g}")
    for rate in rates:
        _, y = at(TICKS[0], rate)
        yield path([(left, y), (right, y)], grid)
        yield text(left - 6, y + 4, f"{rate // 1000}k" if rate >= 1000 else str(rate), "end")
    # Ours is the first, and drawn last.
    for who, points in reversed(drawn):
        corners = [at(*point) for point in points]
        if corners:
            yield path(corners, style(who))
        if who == OURS or len(corners) == 1:
            yield from (dot(*corner) for corner in corners)


def legend(names, width, top):
    """An entry for each index drawn, in lines as long as the plot is wide."""
    fit = max(1, (width - LEFT) // ENTRY)
    for nth, name in enumerate(names):
        x, y = LEFT + nth % fit * ENTRY, top + nth // fit * LINE
        yield path([(x, y), (x + 24, y)], style(name))
        if name == OURS:
            yield dot(x + 12, y)
        title, more = (OURS, ' font-weight="bold"') if name == OURS else (PEERS[name].title, "")
        yield text(x + 31, y + 4, title, "start", more)


def plot(results):
    contests = [(name, results.curves(name, PEERS)) for name in results.sets()]
    columns = max(1, min(ACROSS, len(contests)))
    width = columns * (LEFT + WIDE) + 22
    parts = []
    for nth, (name, curves) in enumerate(contests):
        left = LEFT + nth % columns * (LEFT + WIDE)
        parts += panel(name, curves, left, TOP + nth // columns * (TOP + HIGH + GAP))
    bottom = -(-len(contests) // columns) * (TOP + HIGH + GAP)
    told = f"recall@{K} to the right, queries a second of one thread upwards"
    parts.append(text(width / 2, bottom - 22, told))
    names = list(dict.fromkeys(curve.name for _, curves in contests for curve in curves))
    parts += legend(names, width, bottom + 4)
    height = bottom + LINE * -(-len(names) // max(1, (width - LEFT) // ENTRY))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12">'
        f'<style>{STYLE}</style><rect class="paper" width="100%" height="100%" rx="6"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
