"""The file of results, a JSON object a line, and the curves that its lines make.

- `{"run": {...}}`: when, on what machine and at which commit something was measured;
- `{"set", "n", "dim", "metric", ...}`: a set;
- `{"set", "name", "build_cpu_s", "bytes", ...}`: what an index cost to build, and its memory;
- `{"set", "name", "plan"}`: the settings of a peer that are worth a round;
- `{"set", "name", "round", "setting", "qps", "recall", ...}`: a point.
"""

import json

OURS = "twindex"


class Results:
    """What is known, and where to what becomes known goes at once."""

    def __init__(self, file):
        self.file, self.lines = file, []
        # What is said of this run once something is measured.
        self.run = None
        if file.exists():
            # The last line may have been cut off.
            text = file.read_text()
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                file.write_text(whole)
            self.lines = [json.loads(line) for line in whole.splitlines()]

    def add(self, *lines):
        if self.run:
            lines, self.run = [{"run": self.run}, *lines], None
        with self.file.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        self.lines.extend(lines)

    def runs(self):
        return [line["run"] for line in self.lines if "run" in line]

    def sets(self):
        """What is said of each set, by its name."""
        return {line["set"]: line for line in self.lines if "dim" in line}

    def of(self, folder, name):
        return [a for a in self.lines if (a.get("set"), a.get("name")) == (folder, name)]

    def plan(self, folder, name):
        return next((line["plan"] for line in self.of(folder, name) if "plan" in line), None)

    def left(self, folder, name, nth):
        """What a plan has that a round has not measured."""
        done = [line["setting"] for line in self.of(folder, name) if line.get("round") == nth]
        return [setting for setting in self.plan(folder, name) if setting not in done]

    def curves(self, folder, names):
        """A curve for each index that was measured, ours first."""
        curves = [Curve(name, self.of(folder, name)) for name in [OURS, *names]]
        return [curve for curve in curves if curve.points]


class Curve:
    """What is known of one index on one set: of each setting, the best of all rounds."""

    def __init__(self, name, lines):
        self.name = name
        self.points, self.asked = {}, {}
        for line in lines:
            # A scan of everything is no point of a curve.
            if "qps" not in line or line["setting"] == "exact":
                continue
            point = (line["qps"], line["recall"])
            key = json.dumps(line["setting"])
            self.points[key] = max(self.points.get(key, point), point)
            if line.get("recall_target"):
                known = self.asked.get(line["recall_target"], line)
                self.asked[line["recall_target"]] = max(known, line, key=lambda a: a["qps"])
        # Of the first building: peers are built once, and ours in each round.
        told = next((line for line in lines if "build_cpu_s" in line), {})
        self.build_cpu_s, self.bytes = told.get("build_cpu_s"), told.get("bytes")
        self.version = told.get("version")

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
