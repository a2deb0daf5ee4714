"""The rounds: ours and the peers have their turns on a set, and what they do is kept at once."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ann_peers import PEERS
from ann_process import Gone, Process
from ann_results import OURS

ROOT = Path(__file__).resolve().parents[2]
BEGUN = time.monotonic()

# Which settings of a peer get rounds is told by what they find of so many queries.
SCOUTED = 500
LEAST, ENOUGH = 0.85, 0.9995
# A setting is left out where a cheaper one misses no more than so many times as much.
MORE = 1.1


def say(what):
    print(f"{time.monotonic() - BEGUN:6.0f} s  {what}", file=sys.stderr, flush=True)


def cheaper(one, other):
    """Whether a setting asks for no more than another in any of its numbers."""
    pairs = zip(one, other) if isinstance(one, list) else [(one, other)]
    return one != other and all(a <= b for a, b in pairs)


def rules_out(one, other):
    """By recall alone, which no noise of the machine changes."""
    close = 1 - one["recall"] <= MORE * (1 - other["recall"])
    return close and cheaper(one["setting"], other["setting"])


def scout(peer, process):
    """The settings that may be on the curve where it is wanted."""
    seen = []
    for ladder in peer.ladders:
        last = -1.0
        for setting in ladder:
            point = process.ask(setting, SCOUTED, 1)
            seen.append(point)
            if point["recall"] >= ENOUGH or point["recall"] <= last:
                break
            last = point["recall"]
    best = max(point["recall"] for point in seen)
    wanted = [point for point in seen if point["recall"] >= min(LEAST, best)]
    return [p["setting"] for p in wanted if not any(rules_out(other, p) for other in seen)]


class Peer:
    """A peer on a set, built when there is something left to ask it."""

    def __init__(self, name, folder, options, results):
        self.name, self.folder, self.options, self.results = name, folder, options, results
        self.process = None

    def build(self):
        say(f"{self.folder.name}: building {self.name}")
        self.process = Process(self.name, self.folder, self.options.build_threads)
        self.tell(self.process.about)
        if self.results.plan(self.folder.name, self.name) is None:
            self.tell({"plan": scout(PEERS[self.name], self.process)})

    def tell(self, line):
        self.results.add({"set": self.folder.name, "name": self.name, **line})

    def left(self, nth):
        return self.results.left(self.folder.name, self.name, nth)

    def ready(self):
        """Builds it if a round is left, so that no building is between the turns."""
        planned = self.results.plan(self.folder.name, self.name) is not None
        if not planned or any(self.left(nth) for nth in range(self.options.rounds)):
            self.build()

    def turn(self, nth):
        left = self.left(nth)
        if left:
            say(f"{self.folder.name}: round {nth + 1}, {self.name}, {len(left)} settings")
        for setting in left:
            self.tell({"round": nth, **self.process.ask(setting)})

    def end(self):
        if self.process:
            self.process.end()


class Ours:
    """Our bench on a set: it builds anew in each turn."""

    def __init__(self, folder, options, results):
        self.folder, self.options, self.results = folder, options, results

    def ready(self):
        pass

    def turn(self, nth):
        if any(a.get("round") == nth for a in self.results.of(self.folder.name, OURS)):
            return
        say(f"{self.folder.name}: round {nth + 1}, {OURS}")
        with tempfile.NamedTemporaryFile("r") as out:
            data = ["--data", self.folder.parent, "--set", self.folder.name]
            bench(self.options, *data, "--out", out.name)
            lines = [json.loads(line) for line in Path(out.name).read_text().splitlines()]
        self.results.add(*({**line, "round": nth} for line in lines))

    def end(self):
        pass


def bench(options, *arguments):
    if options.bench_binary:
        command = [options.bench_binary.resolve(), "--bench"]
    else:
        command = ["cargo", "bench", "--quiet", "--bench", "ann", "--"]
    subprocess.run([*command, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def contest(folder, options, results):
    """Each index has its turn in each round; one that is gone is told of and left out."""
    peers = [Peer(name, folder, options, results) for name in options.peers]
    contestants = [Ours(folder, options, results), *peers]

    def each(step):
        for contestant in list(contestants):
            try:
                step(contestant)
            except Gone as gone:
                say(gone)
                contestant.end()
                contestants.remove(contestant)

    try:
        each(lambda contestant: contestant.ready())
        for nth in range(options.rounds):
            each(lambda contestant, nth=nth: contestant.turn(nth))
    finally:
        for contestant in contestants:
            contestant.end()
