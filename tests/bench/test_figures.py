# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the report says follows from what was measured."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import figures  # noqa: E402 pylint: disable=wrong-import-position


def test_a_ratio_is_taken_within_each_round():
    """A machine that becomes slower half-way slows both, and the ratio stays."""
    direct = [10.0] * 50 + [30.0] * 50
    paths = [{"path": "direct", "median_rounds": direct}, {"path": "redial@1", "median_rounds": [x * 1.1 for x in direct]}]
    results = figures.Results({
        "cases": [{"case": "c", "asleep": False, "paths": paths}],
        "paths": [{"name": path["path"], "kind": path["path"].split("@")[0], "size": 1} for path in paths],
        "control": [{"kind": "redial", "size": 1, "syncs": [], "changes": []}],
    })
    assert results.ratio("c", "redial@1") == figures.Ratio(*[pytest.approx(1.1)] * 3)
    assert results.kinds() == ["redial"]


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
