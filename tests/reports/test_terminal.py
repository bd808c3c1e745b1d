from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import claim, estimate, model, null, report, result

from embcheck.checks.record import Control
from embcheck.reports import terminal
from embcheck.reports.text import columns
from embcheck.reports.wording import bound_text


def text(*results, show="fail", **about):
    return "\n".join(line.text for line in terminal.lines(report(model(*results, **about)), show=show))


def test_header_says_what_the_claims_are_about():
    """The header gives shape, dtype, population and what was left out."""
    assert text(result()).startswith("m: 10 x 4 float32  population known: 8 rows  (left out: 2 special)\n")


def test_what_holds_has_a_row_and_no_details():
    """A check that holds shows value, interval, n, unit and bound, and nothing else."""
    rows = text(result()).splitlines()
    assert rows[1] == "holds         toy  0.75 [0.7, 0.8]  n = 12 toys  above 0.5"
    assert rows[2:] == ["", "1 hold"]


def test_exact_values_say_so():
    """A value without uncertainty says exact in place of an interval."""
    assert "0.75 (exact)" in text(result(estimate=estimate(0.75, 0.75, 0.75, exact=True)))


def test_failures_come_first():
    """Whatever fails stands above what does not hold but passes, and that above what holds."""
    rows = [result(), result("skipped", estimate=None, reason="few"), result("refuted", "fail")]
    shown = [line.split()[0] for line in text(*rows).splitlines() if line and not line.startswith(" ")]
    assert shown[1:4] == ["REFUTED", "skipped", "holds"]


def test_counts_name_every_verdict():
    """The last line counts the verdicts."""
    rows = [result(), result("refuted", "fail"), result("inconclusive", "fail"), result("skipped", estimate=None)]
    assert text(*rows, result("error", "fail", estimate=None), show="none") == (
        "1 hold, 1 refuted, 1 inconclusive, 1 skipped, 1 error"
    )


def test_vacuous_and_known_exceptions_are_counted():
    """Known exceptions and vacuous checks are told apart from the rest."""
    vacuous = result(outcome="fail", control=Control(20, 9, 20, vacuous=True))
    known = result("refuted", expected=False)
    assert text(vacuous, known, show="none").endswith("(1 known exception, 1 vacuous)")


def test_strongest_null_is_named_with_its_p_value():
    """Of the nulls to beat, the row names the one that came closest."""
    claims = tuple(claim("beats", 0.01, null=name) for name in ("weak", "strong"))
    nulls = (null("weak", 0.1, 0.0001), null("strong", 0.2, 0.005))
    assert "beats strong: p = 0.005" in text(result(claims=claims, nulls=nulls))


def test_sentence_is_said_once_a_property():
    """Several failing cases of one property spell its claim out once."""
    rows = [result("refuted", "fail", params={"size": size}) for size in (1, 2)]
    assert text(*rows).count("says: Everything is a toy.") == 1


def test_model_that_failed_to_load_says_so():
    """A model without a population was not loaded, and its checks give the reason."""
    shown = text(result("error", "fail", estimate=None, reason="bad file"), population=None, shape=None)
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
    lines = terminal.lines(report(model(result(**changes))))
    assert lines[1].style == style


@given(
    st.text(st.characters(), max_size=60),
    st.text(st.characters(), max_size=200),
    st.floats(),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_line_is_wider_than_80_columns(token, reason, value, encoding):
    """Whatever tokens, names and reasons hold, lines stay within 80 columns and the terminal's encoding."""
    worst = ({"id": 3, "token": token, "value": None if math.isnan(value) else value, "pair": [token, token]},)
    about = {"params": {"word": token}, "counterexamples": worst, "details": {"summary": reason}}
    row = result("refuted", "fail", reason=reason or None, **about)
    for line in terminal.lines(report(model(row, alias=token or "m")), show="all", encoding=encoding):
        assert columns(line.text) <= 80
        assert line.text.isprintable()
        line.text.encode(encoding)


def test_describe_has_everything_about_one_check():
    """One check alone shows its sentence, method, seed and worst tokens."""
    row = result("refuted", "fail", counterexamples=({"id": 1, "token": "a", "value": 0.5},))
    shown = "\n".join(line.text for line in terminal.describe(row, 7))
    for part in ("REFUTED", "says: Everything is a toy.", "95% interval by t  seed 7", "worst: 'a' #1 0.5"):
        assert part in shown


def test_bounds_in_words():
    """Every kind of bound has a wording."""
    assert bound_text(claim("within", 0.49, 0.51)) == "within 0.49 to 0.51"
    assert bound_text(claim("within", 0.49, 0.51, null="independence")) == "within 0.49 to 0.51 (independence)"
    assert bound_text(claim("within", None, None, null="independence")) == "agrees with independence"
    assert bound_text(claim("beats", 0.01, null="shuffled")) == "beats shuffled at p <= 0.01"
    assert bound_text(claim("beats", 0.01, null="n", side="below")) == "lies below n at p <= 0.01"
    assert bound_text(claim("below", 11)) == "below 11"
