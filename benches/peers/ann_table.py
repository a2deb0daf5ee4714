"""The results as Markdown: for each set a row for each index, and ours over the best of them."""

from ann_peers import EF_CONSTRUCTION, K, M, PEERS
from ann_results import OURS

RECALLS = [0.95, 0.99, 0.998]
NOTE = (
    f"QPS: queries a second of one thread at a recall@{K}; between two settings of an index the "
    "time of a query is interpolated, as a mix of both would take. In brackets: ours over the "
    "peer's; a dash: not reached, or not known. "
    f"The peers' graphs: M = {M}, efConstruction = {EF_CONSTRUCTION}; SQ8, FastScan and ScaNN rank "
    "candidates exactly."
)

# Head of a column, its value, how it is written, and which of two is better.
COLUMNS = [
    *((f"QPS at {r}", lambda c, r=r: c.rate(r), "{:,.0f}", max) for r in RECALLS),
    ("build, CPU s", lambda c: c.build_cpu_s, "{:,.1f}", min),
    ("memory, MiB", lambda c: c.bytes and c.bytes / (1 << 20), "{:,.0f}", min),
]


def row(*cells):
    return f"| {' | '.join(cells)} |"


def cell(curve, own, value, form):
    told = value(curve)
    if told is None:
        return "-"
    if curve is own or not own or not value(own):
        return form.format(told)
    return f"{form.format(told)} ({value(own) / told:.2f})"


def beside_best(own, peers, value, better):
    """Ours over the best peer's, and who that is."""
    values = [(value(peer), peer.name) for peer in peers if value(peer)]
    if not values or not value(own):
        return "-"
    best, name = better(values)
    return f"{value(own) / best:.2f} {PEERS[name].title}"


def rows(curves):
    own = next((curve for curve in curves if curve.name == OURS), None)
    peers = [curve for curve in curves if curve is not own]
    yield row("index", *(head for head, *_ in COLUMNS))
    yield row("---", *("---:" for _ in COLUMNS))
    for curve in curves:
        title = f"**{OURS}**" if curve is own else PEERS[curve.name].title
        yield row(title, *(cell(curve, own, value, form) for _, value, form, _ in COLUMNS))
    if own:
        graphs = [peer for peer in peers if PEERS[peer.name].graph]
        for what, those in (("best graph", graphs), ("best peer", peers)):
            cells = (beside_best(own, those, value, better) for _, value, _, better in COLUMNS)
            yield row(f"{OURS} / {what}", *cells)


def asked_by_recall(own):
    """What users get, who ask for a recall instead of a setting."""
    lines = [line for _, line in sorted(own.asked.items())]
    yield row(f"{OURS}, asked for a recall of", *(f"{line['recall_target']:.4g}" for line in lines))
    yield row("---", *("---:" for _ in lines))
    yield row("finds", *(f"{line['recall']:.4f}" for line in lines))
    yield row("QPS", *(f"{line['qps']:,.0f}" for line in lines))
    if all("distances" in line for line in lines):
        yield row("distances a query", *(f"{line['distances']:,.0f}" for line in lines))


def versions(curves):
    known = {PEERS[c.name].module.split(".")[0]: c.version for c in curves if c.version}
    return [f"{module} {version}" for module, version in known.items()]


def of_set(name, about, curves):
    yield f"**{name}**: {about['n']:,} x {about['dim']}, {about['metric']}\n"
    yield from rows(curves)
    measured = [curve.name for curve in curves]
    absent = [peer.title for name, peer in PEERS.items() if name not in measured]
    if absent:
        yield f"\nNot measured: {', '.join(absent)}."
    for curve in curves:
        if curve.asked:
            yield ""
            yield from asked_by_recall(curve)
    yield ""


def table(results):
    parts, measured = [], []
    for name, about in results.sets().items():
        curves = results.curves(name, PEERS)
        parts += of_set(name, about, curves)
        measured += curves
    runs = (
        f"{run['cpu']}, {run['cores']} cores, commit {run['commit']}, "
        f"peers built by {run['build_threads']} thread(s)"
        for run in results.runs()
    )
    # More than one where a run went on elsewhere or after a change.
    told = [*dict.fromkeys(runs), *versions(measured)]
    return "\n".join([*parts, NOTE, "", f"{'; '.join(told)}."])
