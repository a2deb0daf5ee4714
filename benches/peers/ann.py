"""Our index beside the field's: queries a second at a recall, build time and memory, in one run.

    python3 benches/peers/ann.py --data DIR --out FILE --table --plot FILE.svg
        [--set NAME ...] [--peers NAME ...] [--rounds 3] [--build-threads 1] [--bench-binary FILE]
    python3 benches/peers/ann.py --out FILE [--table] [--plot FILE.svg]

DIR holds the sets that `cargo bench --bench ann` reads. What is measured goes to --out at once, a
line of JSON each, and what is there already is not measured again: a run that was cut off goes
on where it stopped. The table, in Markdown, and the plot are made of that file alone.

One thread asks, timed by the clock. In each round each index has its turn, and of each setting the
best rate is kept; a turn is itself the best of three passes, as in our bench, or of fewer that
take two seconds. Ours and the quantisers are asked one query at a time. The graphs of the peers
get all the queries in one call, which favours them. Of a peer's settings, those get rounds that
find more than 0.85 of some queries' rows, and more than what cheaper settings find.

Building is counted in seconds of CPU; `--build-threads` shortens the wait for the peers. Memory is
what a peer's process grew by, and what our index counts; both have the vectors among it.

The peers come from PyPI: numpy hnswlib faiss-cpu usearch scann. TWINDEX_PEERS_PYTHON names an
interpreter that has them, if it is not this one. A peer it lacks is SKIPPED. Linux is needed.
`--bench-binary` names our bench where cargo need not build it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from ann_contest import bench, contest, say
from ann_peers import PEERS
from ann_plot import plot
from ann_results import Results
from ann_table import table

HERE = Path(__file__).resolve().parent


def about_this_run(options):
    def told(*command):
        done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
        return done.stdout.strip()

    cpu = next(a for a in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in a)
    return {
        "begun": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": cpu.split(":")[1].strip(),
        "cores": os.cpu_count(),
        "commit": told("git", "describe", "--always", "--dirty"),
        "build_threads": options.build_threads,
    }


def measure(options, results):
    found = sorted(meta.parent for meta in options.data.resolve().glob("*/meta.json"))
    folders = [f for f in found if not options.set or f.name in options.set]
    if not folders:
        sys.exit(f"{options.data} holds no set that is wanted")
    say("building our bench")
    # Without data it ends at once.
    bench(options)
    results.run = about_this_run(options)
    for folder in folders:
        if folder.name not in results.sets():
            results.add({"set": folder.name, **json.loads((folder / "meta.json").read_text())})
        contest(folder, options, results)
    say("measured")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--set", nargs="+", action="extend")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build-threads", type=int, default=1)
    parser.add_argument("--bench-binary", type=Path)
    options = parser.parse_args()
    results = Results(options.out)
    if options.data:
        measure(options, results)
    if not results.sets():
        sys.exit(f"{options.out} holds no results")
    if options.table:
        print(table(results))
    if options.plot:
        options.plot.write_text(plot(results))


if __name__ == "__main__":
    main()
