"""Our index beside the field's: queries a second at a recall, build time and memory, in one run.

    python3 benches/peers/ann.py --data DIR [--set NAME ...] [--peers NAME ...] [--rounds 3]
                                 [--plot FILE.svg] [--build-threads 1] [--ours FILE]

DIR holds the sets that `cargo bench --bench ann` reads. `--ours` takes the lines of JSON which
that bench wrote earlier with `--out` instead of running it: then it is not the same run.

Everything is asked by one thread and timed by the clock. In each round each index has its turn,
and the best rate of each setting is kept; a turn is itself the best of three passes, as in our
bench. Ours and the quantisers are asked one query at a time. The graphs of the peers get all the
queries in one call and loop inside their library, which favours them.

A peer has a process of its own and is built once. Its memory is what that process grew by, the
vectors it keeps among it; ours is what the index counts, the vectors among it. Building is
counted in seconds of CPU; `--build-threads` shortens the wait for the peers.

The peers come from PyPI: numpy hnswlib faiss-cpu usearch scann. TWINDEX_PEERS_PYTHON names an
interpreter that has them, if it is not this one. A peer it lacks is skipped. Linux is needed.
"""

import argparse
import ctypes
import html
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OURS = "twindex"
K = 10
PASSES = 3
RECALLS = [0.95, 0.99, 0.998]
COSTS = ["build_cpu_s", "bytes"]
MIB = 1 << 20

# The peers. Each builder gives a function of queries and a setting, which answers them all.

M, EF_CONSTRUCTION = 16, 200
EF = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048]
# Of the quantisers: how many of the lists are read, and how many candidates are ranked exactly.
LISTS = [2, 4, 6, 10, 16, 24, 36, 60, 100, 160, 250]
RANKED = [20, 40, 80, 160, 400]


def hnswlib_graph(base, metric, threads):
    import hnswlib

    index = hnswlib.Index(metric, base.shape[1])
    index.init_index(len(base), M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(base, num_threads=threads)

    def search(queries, ef):
        index.set_ef(ef)
        return index.knn_query(queries, K, num_threads=1)[0]

    return search


def usearch_graph(base, metric, threads):
    from usearch.index import Index

    index = Index(
        ndim=base.shape[1],
        metric={"l2": "l2sq", "ip": "ip"}[metric],
        dtype="f32",
        connectivity=M,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(None, base, threads=threads)

    def search(queries, ef):
        index.expansion_search = ef
        return index.search(queries, K, threads=1).keys

    return search


def faiss_metric(metric):
    import faiss

    return {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[metric]


def faiss_fill(index, base, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    index.train(base)
    index.add(base)
    faiss.omp_set_num_threads(1)


def faiss_graph(base, metric, threads):
    import faiss

    index = faiss.IndexHNSWFlat(base.shape[1], M, faiss_metric(metric))
    index.hnsw.efConstruction = EF_CONSTRUCTION
    faiss_fill(index, base, threads)

    def search(queries, ef):
        index.hnsw.efSearch = ef
        return index.search(queries, K)[1]

    return search


def faiss_graph_of_bytes(base, metric, threads):
    import faiss

    kind = faiss.ScalarQuantizer.QT_8bit
    graph = faiss.IndexHNSWSQ(base.shape[1], kind, M, faiss_metric(metric))
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    index = faiss.IndexRefineFlat(graph)
    faiss_fill(index, base, threads)

    def search(queries, ef):
        graph.hnsw.efSearch = ef
        # A byte a value errs little: more than forty candidates are ranked for nothing.
        index.k_factor = min(ef, 40) / K
        return index.search(queries, K)[1]

    return search


def faiss_codes(base, metric, threads, coarse):
    """Four bits for each two to four values, scanned by FastScan."""
    import faiss

    dim = base.shape[1]
    width = next(w for w in ((4, 3, 2, 1) if dim >= 256 else (2, 1)) if dim % w == 0)
    index = faiss.index_factory(dim, f"{coarse}PQ{dim // width}x4fs,RFlat", faiss_metric(metric))
    faiss_fill(index, base, threads)
    return index


def faiss_lists(base, metric, threads):
    import faiss

    index = faiss_codes(base, metric, threads, f"IVF{max(16, round(len(base) ** 0.5))},")
    lists = faiss.downcast_index(index.base_index)

    def search(queries, setting):
        lists.nprobe, index.k_factor = setting[0], setting[1] / K
        return [index.search(query[None], K)[1][0] for query in queries]

    return search


def faiss_flat(base, metric, threads):
    index = faiss_codes(base, metric, threads, "")

    def search(queries, ranked):
        index.k_factor = ranked / K
        return [index.search(query[None], K)[1][0] for query in queries]

    return search


def scann_lists(base, metric, threads):
    from scann import scann_ops_pybind

    rows, dim = base.shape
    inner = metric == "ip"
    builder = scann_ops_pybind.builder(base, K, "dot_product" if inner else "squared_l2")
    builder.set_n_training_threads(threads)
    builder.tree(
        num_leaves=round(rows**0.5) if rows < 100_000 else max(1000, round(rows**0.5)),
        num_leaves_to_search=LISTS[0],
        training_sample_size=rows,
        quantize_centroids=True,
        soar_lambda=1.5 if inner else None,
    )
    # What its authors advise for inner products does not apply to distances.
    threshold = 0.2 if inner else math.nan
    builder.score_ah(4 if dim >= 256 else 2, anisotropic_quantization_threshold=threshold)
    index = builder.reorder(RANKED[0]).build()
    index.set_num_threads(1)

    def search(queries, setting):
        lists, ranked = setting
        return [index.search(query, K, ranked, lists)[0] for query in queries]

    return search


class Peer(NamedTuple):
    build: Callable
    module: str
    settings: list
    colour: str
    graph: bool = False


GRID = [(lists, ranked) for ranked in RANKED for lists in LISTS]
PEERS = {
    "hnswlib": Peer(hnswlib_graph, "hnswlib", EF, "#0072b2", True),
    "faiss": Peer(faiss_graph, "faiss", EF, "#009e73", True),
    "faiss_sq8": Peer(faiss_graph_of_bytes, "faiss", EF, "#e69f00", True),
    "usearch": Peer(usearch_graph, "usearch.index", EF, "#cc79a7", True),
    "faiss_ivf": Peer(faiss_lists, "faiss", GRID, "#009e73"),
    "faiss_flat": Peer(faiss_flat, "faiss", [*RANKED, 1000], "#e69f00"),
    "scann": Peer(scann_lists, "scann", GRID, "#777777"),
}

# The process of a peer: it builds, tells what that cost, and has a turn for each line it is sent.


def resident():
    """Bytes this process holds in memory, without what has been freed."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def version(module):
    package = module.split(".")[0]
    return metadata.version(metadata.packages_distributions()[package][0])


def turn(peer, search, queries, truth):
    """A point for each setting, in the words of our bench."""
    import numpy

    points = []
    for setting in peer.settings:
        best = math.inf
        for _ in range(PASSES):
            begun = time.perf_counter()
            found = search(queries, setting)
            best = min(best, time.perf_counter() - begun)
        right = sum(int(numpy.isin(t, f).sum()) for t, f in zip(truth, found))
        recall = right / truth.size
        points.append({"setting": setting, "qps": len(queries) / best, "recall": recall})
    return points


def serve(name, folder, threads):
    def tell(lines):
        print(json.dumps(lines), flush=True)

    peer = PEERS[name]
    try:
        import numpy

        importlib.import_module(peer.module)
    except ImportError as error:
        return tell({"missing": str(error)})
    meta = json.loads((folder / "meta.json").read_text())
    base, queries = (
        numpy.fromfile(folder / file, "<f4").reshape(-1, meta["dim"])
        for file in ("base.f32", "query.f32")
    )
    truth = numpy.fromfile(folder / "truth.i32", "<i4").reshape(-1, K)
    about = {"version": version(peer.module)}
    before, begun = resident(), time.process_time()
    search = peer.build(base, meta["metric"], threads)
    about["build_cpu_s"] = time.process_time() - begun
    about["bytes"] = resident() - before
    del base
    tell(about)
    for _ in sys.stdin:
        tell(turn(peer, search, queries, truth))


# The rounds.


class Curve:
    """What is known of one index on one set: the best of what its lines say."""

    def __init__(self, name):
        self.name, self.title = name, name
        self.points, self.asked, self.costs = {}, {}, dict.fromkeys(COSTS)

    def add(self, line):
        for cost in COSTS:
            if line.get(cost) is not None:
                self.costs[cost] = min(line[cost], self.costs[cost] or math.inf)
        ef, setting, target = (line.get(k) for k in ("ef", "setting", "recall_target"))
        # A scan of everything is no point of a curve.
        if "qps" not in line or (ef is None and target is None and setting in (None, "exact")):
            return
        points, key = (self.points, str((ef, setting))) if target is None else (self.asked, target)
        points[key] = max(points.get(key, (0, 0)), (line["qps"], line["recall"]))

    def front(self):
        """Recall and rate of the settings that no other beats in both, by rising recall."""
        kept = []
        for rate, recall in sorted(self.points.values(), key=lambda p: (-p[1], -p[0])):
            if not kept or rate > kept[-1][1]:
                kept.append((recall, rate))
        return kept[::-1]

    def rate(self, recall):
        """Queries a second at a recall, or None where it is not reached.

        Between two settings it is what a mix of them gives: the time of a query is interpolated.
        """
        front = self.front()
        above = next((nth for nth, point in enumerate(front) if point[0] >= recall), None)
        if not above:
            return None if above is None else front[0][1]
        (r0, q0), (r1, q1) = front[above - 1 : above + 1]
        share = (recall - r0) / (r1 - r0)
        return 1 / ((1 - share) / q0 + share / q1)


class Process:
    """A peer, built in a process of its own."""

    def __init__(self, name, folder, threads):
        self.curve = Curve(name)
        # What picks kernels for one library must not pick them for another.
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        python = os.environ.get("TWINDEX_PEERS_PYTHON", sys.executable)
        self.process = subprocess.Popen(
            [python, __file__, "--serve", name, str(folder), str(threads)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        about = self.answer()
        if "missing" in about:
            self.alive = False
            print(f"SKIPPED {name}: {about['missing']}", flush=True)
        elif self.alive:
            self.curve.title = f"{name} {about['version']}"
            self.curve.add(about)

    def answer(self):
        line = self.process.stdout.readline()
        self.alive = bool(line)
        if not line:
            print(f"FAILED {self.curve.name}: it ended with {self.process.wait()}", flush=True)
        return json.loads(line or "{}")

    def turn(self):
        try:
            print(file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, as the want of an answer tells.
        for line in self.answer():
            self.curve.add(line)

    def end(self):
        self.process.communicate()


def say(what):
    print(what, file=sys.stderr, flush=True)


def bench(*arguments):
    command = ["cargo", "bench", "--quiet", "--bench", "ann", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def ours(folder, file):
    """The lines of our bench on a set: from a file, or from a run if there is none."""
    if file:
        text = file.read_text()
    else:
        with tempfile.NamedTemporaryFile("r") as out:
            bench("--", "--data", str(folder.parent), "--set", folder.name, "--out", out.name)
            text = Path(out.name).read_text()
    lines = map(json.loads, text.splitlines())
    return [line for line in lines if (line["set"], line["name"]) == (folder.name, OURS)]


def contest(folder, options):
    """A curve for each index on a set, ours first."""
    own, peers = Curve(OURS), []
    try:
        for name in options.peers:
            say(f"{folder.name}: building {name}")
            peers.append(Process(name, folder, options.build_threads))
        for nth in range(options.rounds):
            if nth == 0 or not options.ours:
                say(f"{folder.name}: round {nth + 1}, {OURS}")
                for line in ours(folder, options.ours):
                    own.add(line)
            for peer in (peer for peer in peers if peer.alive):
                say(f"{folder.name}: round {nth + 1}, {peer.curve.name}")
                peer.turn()
    finally:
        for peer in peers:
            peer.end()
    return [own, *(peer.curve for peer in peers if peer.curve.points)]


# The table.

# Head of a column, its value, how it is written, and which of two is better.
COLUMNS = [
    *((f"QPS at {r}", lambda c, r=r: c.rate(r), "{:,.0f}", max) for r in RECALLS),
    ("build, CPU s", lambda c: c.costs["build_cpu_s"], "{:,.1f}", min),
    ("memory, MiB", lambda c: c.costs["bytes"] and c.costs["bytes"] / MIB, "{:,.0f}", min),
]


def row(*cells):
    print("|", " | ".join(cells), "|")


def beside_best(own, peers, value, better):
    """Ours over the best peer's, and who that is."""
    values = [(value(peer), peer.name) for peer in peers if value(peer)]
    if not values or not value(own):
        return "-"
    best, name = better(values)
    return f"{value(own) / best:.2f} x {name}"


def table(folder, curves):
    meta = json.loads((folder / "meta.json").read_text())
    own, *peers = curves
    print(f"\n**{folder.name}**: {meta['n']:,} x {meta['dim']}, {meta['metric']}, recall@{K}\n")
    row("index", *(head for head, *_ in COLUMNS))
    row("---", *("---:" for _ in COLUMNS))
    for curve in curves:
        values = [(value(curve), form) for _, value, form, _ in COLUMNS]
        row(curve.title, *("-" if v is None else form.format(v) for v, form in values))
    graphs = [peer for peer in peers if PEERS[peer.name].graph]
    for what, those in ((f"{OURS} / best graph", graphs), (f"{OURS} / best peer", peers)):
        row(what, *(beside_best(own, those, value, better) for _, value, _, better in COLUMNS))
    if own.asked:
        print(f"\n{OURS}, asked for a recall instead of a setting:\n")
    for target, (rate, recall) in sorted(own.asked.items()):
        print(f"- {target}: recall {recall:.4f}, {rate:,.0f} queries/s")
    sys.stdout.flush()


# The plot: a panel for each set, recall to the right, queries a second upwards.

WIDE, HIGH, LEFT, TOP, GAP, ACROSS = 320, 260, 44, 30, 46, 3
TICKS = [0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 1.0]
LEGEND = 104


def depth(recall):
    """Stretches the high end: each halving of what is missed is about as wide."""
    return -math.log(1.001 - recall)


def text(x, y, what, anchor="middle", more=""):
    what = html.escape(what)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{what}</text>'


def segment(x0, y0, x1, y1, style):
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" {style}/>'


def spot(x, y):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" stroke="#222" fill="#fff"/>'


def style(name):
    """Ours thick, graphs whole, quantisers dashed."""
    if name == OURS:
        return 'stroke="#d01c1c" stroke-width="3" fill="none"'
    dashes = "" if PEERS[name].graph else ' stroke-dasharray="4 3"'
    return f'stroke="{PEERS[name].colour}" stroke-width="1.3" fill="none"{dashes}'


def seen(curve):
    """The part of a curve that is in the plot, and the points asked by recall."""
    least, front = TICKS[0], curve.front()
    path = [point for point in front if point[0] >= least]
    if path and front[0][0] < least:
        path.insert(0, (least, curve.rate(least)))
    asked = [(recall, rate) for rate, recall in curve.asked.values() if recall >= least]
    return path, asked


def rungs(rates):
    """1, 2, 5, 10 and so on, from just below the rates to just above."""
    steps = [m * 10**e for e in range(8) for m in (1, 2, 5)]
    low = max((s for s in steps if s <= min(rates)), default=1)
    high = min((s for s in steps if s > max(rates)), default=steps[-1])
    return [s for s in steps if low <= s <= high]


def panel(name, curves, left, top):
    drawn = [(curve.name, *seen(curve)) for curve in curves]
    rates = rungs([rate for _, path, asked in drawn for _, rate in path + asked] or [1])
    right, bottom = left + WIDE, top + HIGH
    begin, end = depth(TICKS[0]), depth(TICKS[-1])
    floor, ceiling = math.log(rates[0]), math.log(rates[-1])

    def at(recall, rate):
        x = left + WIDE * (depth(recall) - begin) / (end - begin)
        return x, bottom - HIGH * (math.log(rate) - floor) / (ceiling - floor)

    grid = 'stroke="#ddd"'
    yield text((left + right) / 2, top - 9, name, more=' font-weight="bold"')
    for recall in TICKS:
        x, _ = at(recall, rates[0])
        yield segment(x, top, x, bottom, grid)
        yield text(x, bottom + 14, f"{recall:g}")
    for rate in rates:
        _, y = at(1, rate)
        yield segment(left, y, right, y, grid)
        yield text(left - 5, y + 4, f"{rate // 1000}k" if rate >= 1000 else str(rate), "end")
    for who, path, asked in reversed(drawn):
        if path:
            corners = "L".join("{:.1f} {:.1f}".format(*at(*point)) for point in path)
            yield f'<path d="M{corners}" {style(who)}/>'
        yield from (spot(*at(*point)) for point in asked)


def legend(contests, width, top):
    """One entry for each index drawn, in lines as long as the plot is wide."""
    names = list(dict.fromkeys(c.name for _, curves in contests for c in curves if c.points))
    entries = [(name, segment(0, 0, 20, 0, style(name))) for name in names]
    if any(curve.asked for _, curves in contests for curve in curves):
        entries.append((f"{OURS}, by recall", spot(10, 0)))
    fit = (width - LEFT) // LEGEND
    for nth, (name, mark) in enumerate(entries):
        x, y = LEFT + nth % fit * LEGEND, top + nth // fit * 18
        yield f'<g transform="translate({x} {y})">{mark}{text(25, 4, name, "start")}</g>'


def plot(file, contests):
    columns = min(ACROSS, len(contests))
    width = columns * (LEFT + WIDE) + 20
    parts = []
    for nth, (name, curves) in enumerate(contests):
        left = LEFT + nth % columns * (LEFT + WIDE)
        parts += panel(name, curves, left, TOP + nth // columns * (TOP + HIGH + GAP))
    bottom = -(-len(contests) // columns) * (TOP + HIGH + GAP)
    parts.append(text(width / 2, bottom - 14, f"recall@{K}; queries a second upwards, one thread"))
    entries = list(legend(contests, width, bottom + 8))
    height = bottom + 18 * -(-len(entries) // ((width - LEFT) // LEGEND)) + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11" fill="#222">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
    )
    file.write_text("\n".join([head, *parts, *entries, "</svg>"]) + "\n")


def asked():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", nargs="+", action="extend")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--ours", type=Path)
    return parser.parse_args()


def main():
    options = asked()
    found = sorted(meta.parent for meta in options.data.resolve().glob("*/meta.json"))
    folders = [f for f in found if not options.set or f.name in options.set]
    if not folders:
        sys.exit(f"{options.data} holds no set that is wanted")
    if not options.ours:
        say("building our bench")
        bench("--no-run")
    contests = []
    for folder in folders:
        curves = contest(folder, options)
        table(folder, curves)
        contests.append((folder.name, curves))
    if options.plot:
        plot(options.plot, contests)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
