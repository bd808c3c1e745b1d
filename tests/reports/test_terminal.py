from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.reports import terminal
from embcheck.reports.text import columns


def result(verdict="holds", outcome="pass", **changes: Any) -> dict[str, Any]:
    return {
        "property": "toy",
        "version": 1,
        "params": {},
        "sentence": "Everything is a toy.",
        "outcome": outcome,
        "verdict": verdict,
        "claims": [{"op": "above", "bound": 0.5, "null": None, "verdict": verdict}],
        "estimate": {
            "name": "",
            "value": 0.75,
            "low": 0.7,
            "high": 0.8,
            "confidence_level": 0.95,
            "method": "t",
            "n": 12,
            "unit": "toys",
            "exact": False,
            "effect": None,
        },
        "nulls": [],
        "control": None,
        "change": None,
        "details": {},
        "counterexamples": [],
        "reason": None,
        **changes,
    }


def report(*results: dict[str, Any], **model: Any) -> dict[str, Any]:
    first = {
        "alias": "m",
        "spec": "m",
        "shape": [10, 4],
        "dtype": "float32",
        "population": {"kind": "known", "rows": 8, "excluded": {"special": 2}},
        "results": list(results),
        **model,
    }
    return {"run": {"seed": 5}, "models": [first]}


def text(document, **options):
    return "\n".join(line.text for line in terminal.lines(document, **options))


def test_header_says_what_the_claims_are_about():
    """The header gives shape, dtype, population and what was left out."""
    assert text(report(result())).startswith("m: 10 x 4 float32  population known: 8 rows  (left out: 2 special)\n")


def test_what_holds_has_a_row_and_no_details():
    """A check that holds shows value, interval, n, unit and bound, and nothing else."""
    rows = text(report(result())).splitlines()
    assert rows[1] == "holds         toy  0.75 [0.7, 0.8]  n = 12 toys  above 0.5"
    assert rows[2:] == ["", "1 hold"]


def test_exact_values_say_so():
    """A value without uncertainty says exact in place of an interval."""
    exact = {**result()["estimate"], "exact": True, "method": "exact"}
    assert "0.75 (exact)" in text(report(result(estimate=exact)))


def test_failures_come_first():
    """Whatever fails stands above what does not hold but passes, and that above what holds."""
    rows = [result(), result("skipped", estimate=None, reason="few"), result("refuted", "fail")]
    shown = [line.split()[0] for line in text(report(*rows)).splitlines() if line and not line.startswith(" ")]
    assert shown[1:4] == ["REFUTED", "skipped", "holds"]


def test_counts_name_every_verdict():
    """The last line counts the verdicts."""
    rows = [result(), result("refuted", "fail"), result("inconclusive", "fail"), result("skipped", estimate=None)]
    assert text(report(*rows, result("error", "fail", estimate=None)), show="none") == (
        "1 hold, 1 refuted, 1 inconclusive, 1 skipped, 1 error"
    )


def test_vacuous_and_known_exceptions_are_counted():
    """Known exceptions and vacuous checks are told apart from the rest."""
    vacuous = result(outcome="fail", control={"tables": 20, "rows": 9, "holds": 20, "vacuous": True})
    known = result("refuted", expected=False)
    assert text(report(vacuous, known), show="none").endswith("(1 known exception, 1 vacuous)")


def test_strongest_null_is_named_with_its_p_value():
    """Of the nulls to beat, the row names the one that came closest."""
    claims = [{"op": "beats", "bound": 0.01, "null": name, "verdict": "holds"} for name in ("weak", "strong")]
    nulls = [
        {"name": "weak", "value": 0.1, "p_value": 0.0001, "p_adjusted": 0.0002},
        {"name": "strong", "value": 0.2, "p_value": 0.005, "p_adjusted": 0.005},
    ]
    assert "beats strong: p = 0.005" in text(report(result(claims=claims, nulls=nulls)))


def test_sentence_is_said_once_a_property():
    """Several failing cases of one property spell its claim out once."""
    rows = [result("refuted", "fail", params={"size": size}) for size in (1, 2)]
    assert text(report(*rows)).count("says: Everything is a toy.") == 1


def test_model_that_failed_to_load_says_so():
    """A model without a population was not loaded, and its checks give the reason."""
    shown = text(report(result("error", "fail", estimate=None, reason="bad file"), population=None, shape=None))
    assert "m: not loaded" in shown
    assert "why: bad file" in shown


@pytest.mark.parametrize(
    ("changes", "style"),
    [
        ({}, "pass"),
        ({"verdict": "refuted", "outcome": "fail"}, "fail"),
        ({"verdict": "inconclusive", "outcome": "fail"}, "warn"),
        ({"verdict": "skipped", "estimate": None}, "warn"),
        ({"verdict": "refuted", "expected": False}, "dim"),
    ],
)
def test_styles_follow_the_outcome(changes, style):
    """Rows are styled by what they mean, so that any front end can colour them."""
    lines = terminal.lines(report(result(**changes)))
    assert lines[1].style == style


@given(
    st.text(st.characters(), max_size=60),
    st.text(st.characters(), max_size=200),
    st.floats(),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_wider_than_80_columns(token, reason, value, encoding):
    """Whatever tokens, names and reasons hold, lines stay within 80 columns and the terminal's encoding."""
    worst = [{"id": 3, "token": token, "value": None if math.isnan(value) else value, "pair": [token, token]}]
    row = result("refuted", "fail", params={"word": token}, counterexamples=worst, reason=reason or None)
    row["details"] = {"summary": reason}
    for line in terminal.lines(report(row, alias=token or "m"), show="all", encoding=encoding):
        assert columns(line.text) <= 80
        assert line.text.isprintable()
        line.text.encode(encoding)


def test_describe_has_everything_about_one_check():
    """One check alone shows its sentence, method, seed and worst tokens."""
    row = result("refuted", "fail", counterexamples=[{"id": 1, "token": "a", "value": 0.5}])
    shown = "\n".join(line.text for line in terminal.describe(row, 7))
    for part in ("REFUTED", "says: Everything is a toy.", "95% interval by t  seed 7", "worst: 'a' #1 0.5"):
        assert part in shown


def test_bounds_in_words():
    """Every kind of bound has a wording."""
    within = {"op": "within", "low": 0.49, "high": 0.51, "null": None}
    assert terminal.bound_text(within) == "within 0.49 to 0.51"
    assert terminal.bound_text({**within, "null": "independence"}) == "within 0.49 to 0.51 (independence)"
    assert terminal.bound_text({**within, "low": None, "null": "independence"}) == "agrees with independence"
    assert terminal.bound_text({"op": "beats", "bound": 0.01, "null": "shuffled"}) == "beats shuffled at p <= 0.01"
    assert terminal.bound_text({"op": "below", "bound": 11, "null": None}) == "below 11"
