"""A peer in a process of its own: it builds, tells what that cost, and answers one setting a line.

Run as a script it is that process. Memory is what the process grew by while it built, the vectors
that the peer keeps among it.
"""

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from ann_peers import K, PEERS

PASSES, PATIENCE = 3, 2.0


class Gone(Exception):
    """There is no such peer here, or no more."""


class Process:
    """Our end: what the peer tells of itself, and a point for each setting asked."""

    def __init__(self, name, folder, threads):
        # What picks kernels for one library must not pick them for another.
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # Threads that wait for others would be counted as building.
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        python = os.environ.get("TWINDEX_PEERS_PYTHON", sys.executable)
        try:
            self.process = subprocess.Popen(
                [python, __file__, name, folder, str(threads)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise Gone(f"SKIPPED {name}: {error}") from error
        self.name = name
        self.about = self.answer()
        if "missing" in self.about:
            self.end()
            raise Gone(f"SKIPPED {name}: {self.about['missing']}")

    def ask(self, setting, queries=None, passes=PASSES):
        """The point of a setting, by so many of the queries or all."""
        try:
            print(json.dumps([setting, queries, passes]), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, as the want of an answer tells.
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Gone(f"FAILED {self.name}: it ended with {self.process.wait()}")
        return json.loads(line)

    def end(self):
        """Ends the process, and whatever it is at."""
        self.process.kill()
        self.process.communicate()


def resident():
    """Bytes this process holds in memory, without what has been freed."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def version(module):
    package = module.split(".")[0]
    return metadata.version(metadata.packages_distributions()[package][0])


def measure(search, queries, truth, setting, passes):
    """The best of some passes; fewer where they are long, as long ones differ little."""
    best = spent = 0.0
    while passes > 0 and spent < PATIENCE:
        begun = time.perf_counter()
        found = search(queries, setting)
        took = time.perf_counter() - begun
        best, spent, passes = max(best, len(queries) / took), spent + took, passes - 1
    right = sum(len(set(map(int, t)) & set(map(int, f))) for t, f in zip(truth, found))
    return {"setting": setting, "qps": best, "recall": right / truth.size}


def serve(name, folder, threads):
    """The peer's end. What libraries print goes to the errors, not between the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(line):
        print(json.dumps(line), file=answers, flush=True)

    peer = PEERS[name]
    try:
        import numpy

        importlib.import_module(peer.module)
    except ImportError as error:
        return tell({"missing": str(error)})
    meta = json.loads((folder / "meta.json").read_text())

    def rows(file, kind, width):
        return numpy.fromfile(folder / file, kind).reshape(-1, width)

    base, queries = (rows(file, "<f4", meta["dim"]) for file in ("base.f32", "query.f32"))
    truth = rows("truth.i32", "<i4", K)
    before, begun = resident(), time.process_time()
    search = peer.build(base, meta["metric"], threads)
    took, grown = time.process_time() - begun, resident() - before
    del base
    tell({"version": version(peer.module), "build_cpu_s": took, "bytes": grown})
    for line in sys.stdin:
        setting, some, passes = json.loads(line)
        tell(measure(search, queries[:some], truth[:some], setting, passes))


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
