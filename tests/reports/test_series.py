"""Sweeps over steps."""

from __future__ import annotations

import pytest

from embcheck.reports.series import changes, failure, lines, series


def row(step, value, verdict="holds", model="a", label="p", width=0.01, margin=0.05):
    about = {"model": model, "label": label, "step": step, "sentence": "s", "estimate": "e", "claims": "[]"}
    ends = {"value": value, "low": None, "high": None}
    if value is not None:
        ends |= {"low": value - width, "high": value + width}
    outcome = "pass" if verdict == "holds" else "fail"
    return about | ends | {"verdict": verdict, "outcome": outcome, "reason": "why", "margin": margin}


def test_series_are_by_check_and_run_in_order_of_steps():
    """However the rows stand."""
    found = series([row(10, 1.0), row(2, 0.5), row(2, 0.1, model="b"), row(3, 0.2, label="o")])
    assert [(one.label, one.model) for one in found] == [("o", "a"), ("p", "a"), ("p", "b")]
    assert [point.step for point in found[1].points] == [2, 10]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.5, 0.5, 0.5], ()),
        ([0.5, 0.56, 0.5, 0.56], ()),  # intervals are further apart than they are long, but not by the margin
        ([0.5, 0.5, 0.7, 0.7], (2,)),
        ([0.5, None, 0.5, 0.9], (3,)),
    ],
)
def test_a_change_is_a_gap_of_more_than_the_margin(values, expected):
    """Between the interval now and that of the last change."""
    (found,) = series([row(i, value) for i, value in enumerate(values)])
    assert changes(found) == expected


def test_drift_is_found_where_its_sum_exceeds_the_margin():
    """Steps of 0.04 with intervals of half a length 0.01: 0.58 is 0.06 away from 0.5."""
    (found,) = series([row(i, 0.5 + 0.04 * i) for i in range(5)])
    assert changes(found) == (2, 4)


def test_beginning_or_ceasing_to_pass_is_a_change():
    """Even where the property states no margin."""
    rows = [row(0, 0.5, margin=None), row(1, 0.5, "refuted", margin=None), row(2, 0.9, margin=None)]
    (found,) = series(rows)
    assert changes(found) == (1, 2)


def test_first_failures_name_the_checkpoint_before():
    """And checks that never fail have none."""
    rows = [
        row(0, 1.0),
        row(1, 0.1, "refuted"),
        row(2, 1.0),
        row(0, None, "skipped", label="q"),
        row(0, 1.0, label="r"),
    ]
    found = {line.label: failure(line) for line in series(rows)}
    assert {label: first and (first.point.step, first.before) for label, first in found.items()} == {
        "p": (1, 0),
        "q": (0, None),
        "r": None,
    }


def test_lines_are_short_and_inert():
    """80 columns, and no escape sequence of a hostile path."""
    rows = [row(i, 0.5, model="runs/\x1b[31mred\u202e" + "x" * 90) for i in range(3)] + [row(9, None, "error", "b")]
    shown = [line.text for line in lines(rows)]
    assert all(len(line) <= 80 for line in shown)
    assert not any(c in "".join(shown) for c in "\x1b\u202e")
    assert any("fails at step 9, from the first checkpoint" in " ".join(shown) for _ in shown)
