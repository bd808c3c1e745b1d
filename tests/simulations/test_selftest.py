"""Every property that ships, simulated in a reduced form: noise, planted structure and coverage.

The limits are those that so many tables allow (binomial quantiles); `embcheck selftest` with its defaults, whose table
is in docs/calibration.md, has the narrow ones.
"""

from __future__ import annotations

import pytest

from embcheck import lexicons
from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of
from embcheck.selftest import Plan, examine

pytestmark = pytest.mark.slow
PLAN = Plan(tables=20, redraws=40)
NEED_MORE = {
    "matrix_alignment",
    "neighbor_overlap",
    "relative_orientation",
    "reproduces_published_figures",
    "tied_output",
    "token_neuron_middle_men",
    "token_neuron_profiles",
}


@pytest.mark.parametrize("function", collect.functions(), ids=lambda function: function.__name__)
def test_every_property_is_calibrated(function, monkeypatch):
    """It holds on no more noise than it may, sees what is planted, its intervals cover and its p-values are uniform."""
    monkeypatch.setattr("embcheck.measures.pairs.analogy_gain.COST", 0)  # 40 pairs
    checks = [c for c in checks_of([function]) if all(lexicons.language_of(v) == "en" for v in c.params.values())]
    (row,) = examine(checks, PLAN)["properties"]
    assert row["faults"] == []
    measured = row["reason"] is None and all(case["noise"]["reason"] is None for case in row["cases"])
    assert measured or function.__name__ in NEED_MORE
