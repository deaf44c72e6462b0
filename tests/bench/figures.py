# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What results.json says: ratios and their spread, targets, growth. Pure."""

import collections
import dataclasses
import math
import statistics
from random import Random

REFERENCE = "direct"
# Samples of rounds that stand for the ones that could have been.
DRAWS = 1000


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median over rounds of one path's figure to another's in the same
    round, or what is said to be; and the interval that holds the true one in 95
    of 100 cases."""

    median: float
    low: float
    high: float

    def __str__(self):
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def median_interval(values):
    """By order statistics: no assumption about how the values are spread."""
    values = sorted(values)
    reach = 1.96 * math.sqrt(len(values)) / 2
    first = max(0, math.floor(len(values) / 2 - reach))
    return Ratio(statistics.median(values), values[first], values[len(values) - 1 - first])


def _p99(slow, times, operations):
    """Of as many operations, of which the slow ones are given with their round, the
    slowest first, when each round is there so many times."""
    slower = operations - 1 - operations * 99 // 100
    for ns, i in slow:
        slower -= times[i]
        if slower < 0:
            return ns
    return slow[-1][0]


class Results:
    """Reads results.json by names."""

    def __init__(self, data):
        self.data = data
        self.cases = {case["case"]: {path["path"]: path for path in case["paths"]} for case in data["cases"]}
        self.asleep = {case["case"] for case in data["cases"] if case["asleep"]}
        self.paths = {path["name"]: path for path in data["paths"]}
        self.sizes = sorted({row["size"] for row in data["control"]})
        self.largest = self.sizes[-1]
        self.control = {(row["kind"], row["size"]): row for row in data["control"]}
        self._p99s_known = {}

    def kinds(self):
        """Those with Services, in the order they were given."""
        return list(dict.fromkeys(path["kind"] for path in self.data["paths"]
                                  if "@" in path["name"] and path["kind"] != "redial-udp"))

    def at_largest(self, case):
        """The paths of a case with the most Services, and those without any."""
        return [name for name in self.cases[case] if self.paths[name]["size"] == self.largest]

    def ratio(self, case, path, reference=REFERENCE):
        paths = self.cases[case]
        return median_interval([a / b for a, b in zip(paths[path]["median_rounds"], paths[reference]["median_rounds"])])

    def p99_ratio(self, case, path, reference=REFERENCE):
        """The ratio of the p99 of all rounds' operations together. Single rounds have
        too few that are slow for a median over rounds, so the interval is what 95 of
        100 samples of as many rounds, drawn from these, would say (bootstrap)."""
        ratios = [a / b for a, b in zip(self._p99s(case, path), self._p99s(case, reference))]
        drawn = sorted(ratios[1:])
        return Ratio(ratios[0], drawn[DRAWS * 25 // 1000], drawn[DRAWS * 975 // 1000])

    def _p99s(self, case, path):
        """Of all rounds, then of each draw: the same rounds for all paths of a case."""
        if (case, path) not in self._p99s_known:
            operations, rounds = (self.cases[case][path][key] for key in ("operations", "slow_rounds"))
            slow = sorted(((ns, i) for i, of_round in enumerate(rounds) for ns in of_round), reverse=True)
            random = Random(case)
            draws = [range(len(rounds))] + [random.choices(range(len(rounds)), k=len(rounds)) for _ in range(DRAWS)]
            self._p99s_known[case, path] = [_p99(slow, collections.Counter(draw), operations) for draw in draws]
        return self._p99s_known[case, path]

    def control_median(self, kind, size, what, key):
        values = [step[key] for step in self.control[kind, size][what] if key in step]
        return statistics.median(values) if values else None


# ---- targets -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Target:
    figure: str
    target: str
    measured: str
    verdict: str  # met, missed, either of them narrowly, or not measured


def _with_difference(results, case, path, ratio):
    """A ratio alone hides how long the operation is."""
    ns = results.cases[case][path]["p50"] - results.cases[case][REFERENCE]["p50"]
    return f"{ratio}, {ns:+,} ns"


def _judge(figure, target, measured, is_met, ratio=None, bounds=()):
    """Narrowly: a bound is inside the interval, so another run may say otherwise."""
    verdict = "met" if is_met else "missed"
    if any(ratio.low <= bound <= ratio.high for bound in bounds):
        verdict += " narrowly"
    return Target(figure, target, measured, verdict)


def targets(results):
    """The issue's, each with what was measured; those of 10,000 Services."""
    size = results.largest
    redial = f"redial@{size}"
    rows = []

    def ratio_row(figure, case, most, path=redial, least=None):
        if case not in results.cases or path not in results.cases[case]:
            rows.append(Target(figure, f"≤ {most:g}", "", "not measured"))
            return
        ratio = results.ratio(case, path)
        bound = f"≤ {most:g}" if least is None else f"{least:g} to {most:g}"
        measured = _with_difference(results, case, path, ratio)
        is_met = (least is None or ratio.median >= least) and ratio.median <= most
        rows.append(_judge(figure, bound, measured, is_met, ratio, [x for x in (least, most) if x is not None]))

    def p99_row(figure, case, most):
        ratio = results.p99_ratio(case, redial)
        rows.append(_judge(figure, f"≤ {most:g}", str(ratio), ratio.median <= most, ratio, [most]))

    def faster_row(kind, least):
        figure, name = f"TCP connect, faster than {kind}", f"{kind}@{size}"
        if name not in results.cases["tcp-connect"]:
            rows.append(Target(figure, f"≥ {least:g}×", "", "not measured"))
            return
        ratio = results.ratio("tcp-connect", name, reference=redial)
        rows.append(_judge(figure, f"≥ {least:g}×", str(ratio), ratio.median >= least, ratio, [least]))

    def growth_row(figure, case):
        smallest = f"redial@{results.sizes[0]}"
        ratio = results.ratio(case, redial, reference=smallest)
        rows.append(_judge(figure, "≤ 1.01", str(ratio), ratio.median <= 1.01, ratio, [1.01]))

    def control_row(figure, what, key, most):
        value = results.control_median("redial", size, what, key)
        if value is None:
            rows.append(Target(figure, f"≤ {most:g} ms", "", "not measured"))
            return
        every = sorted(step[key] for step in results.control["redial", size][what])
        rows.append(_judge(figure, f"≤ {most:g} ms", f"{value:.2f} ms ({every[0]:.2f} to {every[-1]:.2f}, n={len(every)})",
                           value <= most))

    ratio_row("TCP connect, p50", "tcp-connect", 1.02)
    faster_row("iptables-legacy", 4.5)
    faster_row("iptables-nft", 10)
    faster_row("nftables", 1.35)
    ratio_row("TCP connect + request + close, p50", "tcp-short", 1.012)
    p99_row("TCP connect + request + close, p99", "tcp-short-long" if "tcp-short-long" in results.cases else "tcp-short", 1.05)
    ratio_row("the same with those who wait asleep, p50", "tcp-short-asleep", 1.012)
    p99_row("the same with those who wait asleep, p99", "tcp-short-asleep", 1.05)
    ratio_row("request on a kept connection, p50", "tcp-kept", 1.003, least=0.997)
    ratio_row("UDP socket + connect + close, hot, p50", "udp-connect", 1.035)
    ratio_row("UDP socket + connect + close, random, p50", "udp-connect-random", 1.09, path=f"redial-udp@{size}")
    ratio_row("unconnected UDP echo, p50", "udp-echo", 1.01)
    growth_row(f"growth from {results.sizes[0]} to {size:,} Services, TCP connect, p50", "tcp-connect")
    growth_row(f"growth from {results.sizes[0]} to {size:,} Services, UDP connect, p50", "udp-connect")
    control_row("full sync, store to effective", "syncs", "store_ms", 50)
    control_row("one change, event to effective", "changes", "effective_ms", 1)
    memlock = results.data["bpf"][redial]["memlock"] / 1e6
    rows.append(_judge("BPF maps' memory", "≤ 16 MB", f"{memlock:.1f} MB", memlock <= 16))
    return rows


# ---- growth --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Line:
    """y = at_zero + per_thousand · N / 1000"""

    at_zero: float
    per_thousand: float


def fit_line(points):
    fit = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return Line(fit.intercept, fit.slope * 1000)


def fit_power(points):
    """The k of y ~ N^k."""
    return statistics.linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope


def latency_points(results, case, kind):
    return [(size, results.cases[case][f"{kind}@{size}"]["p50"] / 1e3)
            for size in results.sizes if f"{kind}@{size}" in results.cases[case]]


def control_points(results, kind, what, key="effective_ms"):
    points = [(size, results.control_median(kind, size, what, key))
              for size in results.sizes if (kind, size) in results.control]
    return [point for point in points if point[1]]
