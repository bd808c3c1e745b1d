"""Pictures of results that a run of one model does not have: several models, published figures, baselines."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from embcheck.reports.html import pictures
from embcheck.reports.html.pictures.changes import moved


def result(name: str, **changes: Any) -> dict[str, Any]:
    estimate = {"value": 0.4, "low": 0.3, "high": 0.5, "name": "", "exact": False, "n": 9, "unit": "toys"}
    return {
        "property": name,
        "params": {},
        "claims": [{"op": "above", "bound": 0.1, "null": None, "verdict": "holds"}],
        "estimate": estimate,
        "nulls": [{"name": "shuffled", "value": 0.0, "p_value": 0.01, "p_adjusted": None}],
        "change": None,
        "details": {},
        **changes,
    }


def shown(alias: str, index: int, found: dict[str, Any]) -> pictures.Shown:
    return pictures.Shown(alias, index, (1_000 * 10**index, 10), found)


def tips(figure: pictures.Figure) -> list[str]:
    """What the marks of a picture say."""
    return [e.attrib["data-tip"] for e in ET.fromstring(str(figure.body)).iter() if "data-tip" in e.attrib]  # noqa: S314


def test_overlap_is_a_matrix_of_models():
    """Each two models have a cell on either side of the diagonal that says their overlap."""
    values = {("a", "b"): 0.1, ("a", "c"): 0.2, ("b", "c"): 0.3}
    found = [
        shown(a, i, result("neighbor_overlap", params={"other": b}, estimate={"value": v}))
        for i, ((a, b), v) in enumerate(values.items())
    ]
    (figure,) = pictures.drawn_together(found)
    said = tips(figure)
    for (a, b), v in values.items():
        assert f"{a} and {b}: {v}" in said
        assert f"{b} and {a}: {v}" in said
    assert pictures.drawn_each(found[0]) == []


def test_published_figures_are_marked():
    """Each published figure stands with ours and its tolerance."""
    entry = {"figure": "min", "ours": -0.21, "published": -0.2, "tolerance": 0.02, "within": True}
    (figure,) = pictures.drawn_each(
        shown("m", 0, result("reproduces_published_figures", details={"published_figures": [entry]}))
    )
    assert "min: -0.21, published -0.2 +- 0.02" in tips(figure)


@pytest.mark.parametrize(("models", "drawn"), [(2, 0), (3, 1)])
def test_share_against_size_needs_three_models(models, drawn):
    """From three models on, the share is drawn against the size of the matrix."""
    found = [shown(f"m{i}", i, result("positive_cosine_bias")) for i in range(models)]
    figures = pictures.drawn_together(found)
    assert len(figures) == drawn
    for figure in figures:
        assert {f"m{i}: 0.4, {1000 * 10**i:,} x 10" for i in range(models)} <= set(tips(figure))


def test_a_property_of_ones_own_has_a_picture():
    """What has no picture shows its histogram, and its interval beside bounds and nulls."""
    histogram = {"low": 0.0, "high": 3.0, "counts": [1, 0, 3]}
    bars, interval = pictures.drawn_each(shown("m", 0, result("mine", details={"lengths": histogram})))
    assert tips(bars) == ["0 to 1: 25%", "1 to 2: 0%", "2 to 3: 75%"]
    assert {"measured: 0.4", "interval: 0.3 to 0.5", "shuffled: 0", "above 0.1"} <= set(tips(interval))


def test_changes_stand_in_margins():
    """Old against new: each compared check, the largest change first; what was not compared is left out."""
    change = {
        "state": "regressed",
        "value": -0.06,
        "low": -0.08,
        "high": -0.04,
        "margin": 0.02,
        "before": 0.5,
        "after": 0.44,
    }
    model = {
        "alias": "m",
        "results": [
            result("one", change={**change, "state": "match", "value": 0.001, "low": 0.0, "high": 0.002}),
            result("two", change=change),
            result("three", change={**change, "value": None}),
            result("four"),
        ],
    }
    (figure,) = moved(model)
    names = re.findall(r">(one|two|three|four)<", str(figure.body))
    assert names == ["two", "one"]
    assert "two: regressed, from 0.5 to 0.44" in tips(figure)
    assert list(moved({"alias": "m", "results": [result("four")]})) == []
