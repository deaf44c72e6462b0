# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the report says follows from what was measured."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import figures  # noqa: E402 pylint: disable=wrong-import-position


def results_of(**figures_of):
    """Of one case, `direct` and `redial`."""
    paths = [{"path": name, **values} for name, values in (("direct", figures_of["direct"]), ("redial@1", figures_of["redial"]))]
    return figures.Results({
        "cases": [{"case": "c", "asleep": False, "paths": paths}],
        "paths": [{"name": path["path"], "kind": path["path"].split("@")[0], "size": 1} for path in paths],
        "control": [{"kind": "redial", "size": 1, "syncs": [], "changes": []}],
    })


def test_a_ratio_is_taken_within_each_round():
    """A machine that becomes slower half-way slows both, and the ratio stays."""
    direct = [10.0] * 50 + [30.0] * 50
    results = results_of(direct={"median_rounds": direct}, redial={"median_rounds": [x * 1.1 for x in direct]})
    assert results.ratio("c", "redial@1") == figures.Ratio(*[pytest.approx(1.1)] * 3)
    assert results.kinds() == ["redial"]


def slow(rounds, factor=1):
    """Rounds of 1,000 operations, of which the slowest fifty are given."""
    return {"operations": 1000 * len(rounds),
            "slow_rounds": [sorted((ns * factor for ns in of_round), reverse=True) for of_round in rounds]}


def test_a_p99_is_of_all_rounds_together():
    # Of 2,000 operations 19 are slower than the p99.
    rounds = [range(1000, 1050), [5000] * 10 + [10] * 40]
    results = results_of(direct=slow([[10] * 50] * 2), redial=slow(rounds))
    assert results.p99_ratio("c", "redial@1").median == 1040 / 10


def test_a_p99_is_compared_in_the_same_rounds():
    """Rounds in which everything is slow are so for both, and say nothing of either."""
    rounds = [range(1000, 1050)] * 20 + [range(9000, 9050)] * 5
    results = results_of(direct=slow(rounds), redial=slow(rounds, 2))
    assert results.p99_ratio("c", "redial@1") == figures.Ratio(2, 2, 2)


def test_the_interval_of_a_p99_tells_how_few_are_slow():
    """In five rounds of twenty more than one in a hundred is slow, and in as many others of the other path."""
    slow_round, fast_round = [900] * 40 + [10] * 10, [10] * 50
    results = results_of(direct=slow([slow_round] * 5 + [fast_round] * 15), redial=slow([fast_round] * 15 + [slow_round] * 5))
    ratio = results.p99_ratio("c", "redial@1")
    assert ratio.low < 0.1 and ratio.high > 10


@pytest.mark.parametrize(
    "count, first",  # of the binomial distribution with p = 1/2
    [(1, 0), (5, 0), (100, 40), (400, 180)],
)
def test_the_interval_of_a_median(count, first):
    ratio = figures.median_interval(list(reversed(range(count))))
    assert (ratio.low, ratio.high) == (first, count - 1 - first)
    assert ratio.low <= ratio.median <= ratio.high


def test_growth_is_fitted():
    line = figures.fit_line([(1, 8.001), (100, 8.1), (1000, 9.0), (10000, 18.0)])
    assert (line.at_zero, line.per_thousand) == (pytest.approx(8.0), pytest.approx(1.0))
    assert figures.fit_power([(1, 3.0), (100, 300.0), (10000, 30000.0)]) == pytest.approx(1.0)
