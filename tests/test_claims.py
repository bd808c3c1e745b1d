import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.checks.record import builtins
from embcheck.claims import Verdict, above, agrees, beats, below, claim, combine, within
from embcheck.errors import UsageError
from embcheck.estimate import Estimate, Reference

HOLDS, REFUTED, INCONCLUSIVE = Verdict.HOLDS, Verdict.REFUTED, Verdict.INCONCLUSIVE
finite = st.floats(-10, 10)


def estimate(low, high, **about):
    return Estimate((low + high) / 2, low, high, 0.95, "given", 5, "words", **about)


def shuffled():
    """Stands for a null."""


@pytest.mark.parametrize(
    ("bound", "low", "high", "expected"),
    [
        (above(0.5), 0.6, 0.7, HOLDS),
        (above(0.5), 0.5, 0.7, INCONCLUSIVE),
        (above(0.5), 0.4, 0.5, REFUTED),
        (above(0.5), 0.4, math.nextafter(0.5, 1), INCONCLUSIVE),
        (above(0.5), math.nextafter(0.5, 1), 0.7, HOLDS),
        (above(0.5), 0.5, 0.5, REFUTED),
        (below(0.5), 0.3, 0.4, HOLDS),
        (below(0.5), 0.3, 0.5, INCONCLUSIVE),
        (below(0.5), 0.5, 0.6, REFUTED),
        (below(0.5), 0.5, 0.5, REFUTED),
        (below(11), 10, 10, HOLDS),
        (below(11), 11, 11, REFUTED),
        (within(0.4, 0.6), 0.4, 0.6, HOLDS),
        (within(0.4, 0.6), 0.3, 0.5, INCONCLUSIVE),
        (within(0.4, 0.6), 0.5, 0.7, INCONCLUSIVE),
        (within(0.4, 0.6), 0.3, 0.7, INCONCLUSIVE),
        (within(0.4, 0.6), 0.1, 0.4, INCONCLUSIVE),
        (within(0.4, 0.6), 0.1, 0.3, REFUTED),
        (within(0.4, 0.6), 0.7, 0.8, REFUTED),
        (within(0.4, 0.6), 0.6, 0.6, HOLDS),
    ],
)
def test_verdict_of_an_interval(bound, low, high, expected):
    """A bound holds where the whole interval keeps it, is refuted where none of it does, else is inconclusive."""
    assert bound.verdict(estimate(low, high)) is expected


@given(bound=finite, low=finite, width=st.floats(0, 5))
def test_above_and_below_never_both_hold(bound, low, width):
    """No interval lies on both sides of a bound, and an interval that crosses it decides neither claim."""
    found = estimate(low, low + width)
    verdicts = {above(bound).verdict(found), below(bound).verdict(found)}
    assert verdicts != {HOLDS}
    if low < bound < low + width:
        assert verdicts == {INCONCLUSIVE}


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, HOLDS), (0.7, HOLDS), (0.3, HOLDS), (0.7001, REFUTED), (0.2999, REFUTED)]
)
def test_agrees_compares_the_value_with_the_null_s_own_error(value, expected):
    """A value agrees with a null inside so many of the null's standard errors, whatever its own interval."""
    found = Estimate(value, 0.0, 1.0, 0.95, "", 5, "words", references={"independence": Reference(0.5, 0.04)})
    assert agrees("independence", standard_errors=5).verdict(found) is expected


def test_agrees_needs_the_reference():
    """A reference that the measure does not state is a mistake in the property, and is named."""
    with pytest.raises(UsageError, match="agrees\\('independence'\\): the measure states no such reference"):
        agrees("independence").verdict(estimate(0, 1))


@pytest.mark.parametrize(
    ("reached", "draws", "p", "expected"),
    [
        (0, 99, 0.01, HOLDS),
        (1, 199, 0.01, HOLDS),
        (0, 98, 1 / 99, INCONCLUSIVE),
        (1, 99, 0.02, INCONCLUSIVE),
        (2, 199, 0.015, INCONCLUSIVE),
        (48, 99, 0.49, INCONCLUSIVE),
        (49, 99, 0.5, REFUTED),
        (99, 99, 1.0, REFUTED),
    ],
)
def test_beats_is_a_one_sided_permutation_test(reached, draws, p, expected):
    """P = (r + 1)/(B + 1), draws equal to the value counting as reaching it; 0.01 holds, 0.5 is refuted."""
    found = Estimate(
        1.0, 0.9, 1.1, 0.95, "", 5, "words", draws={"shuffled": np.r_[np.ones(reached), np.zeros(draws - reached)]}
    )
    negated = replace(found, value=-1.0, draws={"shuffled": -found.draws["shuffled"]})
    for bound, measured in ((beats(shuffled), found), (beats(shuffled, side="below"), negated)):
        assert bound.p_value(measured) == pytest.approx(p)
        assert bound.verdict(measured) is expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([HOLDS], HOLDS),
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, REFUTED], REFUTED),
        ([HOLDS, REFUTED], REFUTED),
        ([Verdict.SKIPPED, HOLDS], INCONCLUSIVE),
    ],
)
def test_a_property_holds_when_all_its_claims_do(verdicts, expected):
    """One refuted claim refutes a property; it holds only when every claim does."""
    assert combine(verdicts) is expected
    assert combine(verdicts[::-1]) is expected


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (above(0.51), {"op": "above", "bound": 0.51, "null": None}),
        (below(11), {"op": "below", "bound": 11, "null": None}),
        (within(0.49, 0.51), {"op": "within", "low": 0.49, "high": 0.51, "null": None}),
        (beats(shuffled), {"op": "beats", "bound": 0.01, "null": "shuffled"}),
        (beats(shuffled, side="below"), {"op": "beats", "bound": 0.01, "null": "shuffled", "side": "below"}),
        (agrees("independence"), {"op": "within", "low": None, "high": None, "null": "independence"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_records_are_those_of_the_report(bound, expected):
    """Each bound states itself as the report's contract has it."""
    stated = builtins(bound.outcome(None, Verdict.HOLDS))
    assert stated == {**expected, "verdict": "holds"}


def test_agrees_states_the_range_it_compared_with():
    """With an estimate at hand, agrees records the range in numbers."""
    found = estimate(0, 1, references={"independence": Reference(0.5, 0.01)})
    outcome = agrees("independence", standard_errors=5).outcome(found, Verdict.HOLDS)
    assert (outcome.low, outcome.high) == pytest.approx((0.45, 0.55))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("bound", [above, below, lambda v: within(0, v), lambda v: within(v, 0)])
def test_bounds_are_finite(bound, value):
    """A bound that is not a finite number is refused where it is written."""
    with pytest.raises(UsageError, match="needs a finite number"):
        bound(value)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1)])
def test_within_needs_its_ends_in_order(low, high):
    """An empty range is refused where it is written."""
    with pytest.raises(UsageError, match="needs low < high"):
        within(low, high)


def test_bounds_do_not_change():
    """A bound is a value: it can't be altered after it was declared."""
    with pytest.raises(FrozenInstanceError):
        above(1).bound = 0


# --- @claim -------------------------------------------------------------------------------------------------------


def test_claim_returns_the_function_itself_with_its_declaration():
    """@claim gives back the same function, marked for pytest, with all that was declared."""

    def zipf(table, depth, word, rng):
        pass

    zipf.__doc__ = """Norms fall with rank,
        over all words.

        Not part of the sentence.
        """

    same = claim(above(1), below(2), depth=[1, 2], word="a", on_noise="any", version=3)(zipf)
    declared = same.__embcheck__
    assert same is zipf
    assert same.__test__ is True
    assert (declared.id, declared.sentence) == ("zipf", "Norms fall with rank, over all words.")
    assert (declared.claims, declared.on_noise, declared.version) == ((above(1), below(2)), "any", 3)
    assert declared.parameters == {"depth": (1, 2), "word": ("a",)}
    assert declared.fixtures == ()


def test_cases_are_the_product_of_parameters():
    """Several values of several parameters make every combination, the last varying fastest."""

    @claim(above(1), a=(1, 2), b=["x", "y"])
    def prop(table, a, b):
        """Says something."""

    cases = [tuple(case.values()) for case in prop.__embcheck__.cases()]
    assert cases == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_without_parameters_there_is_one_case():
    """A property without parameters is one check."""

    @claim(above(1))
    def prop(table):
        """Says something."""

    assert list(prop.__embcheck__.cases()) == [{}]


def test_other_arguments_are_fixtures():
    """Arguments that are neither parameters nor supplied by embcheck are left to pytest."""

    @claim(above(1), a=1)
    def prop(table, a, rng, tmp_path, corpus):
        """Says something."""

    assert prop.__embcheck__.fixtures == ("tmp_path", "corpus")


def silent(table):
    pass


def without_table(rng):
    """Says something."""


def sound(table, a=0):
    """Says something."""


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: claim()(sound), "needs at least one of above"),
        (lambda: claim(0.5)(sound), "needs at least one of above"),
        (lambda: claim(above(1), on_noise="maybe")(sound), "on_noise must be .* got 'maybe'"),
        (lambda: claim(above(1), b=1)(sound), "sound does not take the parameter 'b'"),
        (lambda: claim(above(1))(silent), "silent needs a docstring"),
        (lambda: claim(above(1))(without_table), "without_table must take 'table'"),
        (lambda: claim(above(1))(lambda table, tables: None), "and not both"),
        (lambda: claim(above(1), other=1)(lambda tables, other: None), "takes 'other', which names the second model"),
        (lambda: claim(above(1), margin=0.1)(lambda tables: None), "not compared with a baseline; leave out margin"),
    ],
)
def test_mistakes_are_named_at_declaration(declare, message):
    """A property that can't be checked is refused when it is declared, with what is wrong."""
    with pytest.raises(UsageError, match=message):
        declare()
