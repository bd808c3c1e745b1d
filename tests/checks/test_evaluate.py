import json
from types import SimpleNamespace

import numpy as np
import pytest

from embcheck import lexicons, nulls
from embcheck.checks import evaluate as run_module
from embcheck.checks.evaluate import Check, checks_of, error_result, evaluate, judge, rng_for
from embcheck.checks.record import Control, NullResult, builtins
from embcheck.claims import ClaimOutcome, Verdict, above, beats, below, claim, within
from embcheck.errors import EmbcheckError, NotMeasurable, UsageError
from embcheck.estimate import Estimate
from embcheck.reports.wording import measured_text
from embcheck.settings import Settings, current
from embcheck.table import EmbeddingTable

HOLDS, REFUTED, INCONCLUSIVE, SKIPPED, NOT_APPLICABLE, ERROR = Verdict


@pytest.fixture
def table():
    vectors = np.random.default_rng(0).standard_normal((60, 5)) + 1
    return EmbeddingTable.from_arrays(vectors, [f"t{i}" for i in range(60)])


def declared():
    """Properties of the tests, out of sight of pytest, which would collect them here."""

    @claim(above(0.5), scale=(0.4, 0.6, 1))
    def scaled(table, scale):
        """A number is large."""
        return Estimate.exact(float(scale), details={"array": np.arange(2), "nan": np.float64("nan")})

    @claim(above(0))
    def unmeasurable(table):
        """Cannot be measured here."""
        raise NotMeasurable("no such words")

    @claim(above(-1))
    def vacuous(table):
        """Holds on anything."""
        return Estimate.exact(0.0)

    return SimpleNamespace(scaled=scaled, unmeasurable=unmeasurable, vacuous=vacuous)


P = declared()


# --- evaluate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "expected"), [(0.4, REFUTED), (0.6, HOLDS)])
def test_a_check_has_the_verdict_of_its_claims(table, scale, expected):
    """Measuring and holding the claims against the estimate gives the verdict, and with it pass or fail."""
    found = evaluate(Check(P.scaled, {"scale": scale}), table, Settings())
    assert (found.verdict, found.passed, found.estimate.value) == (expected, expected is HOLDS, scale)
    assert found.claims == (ClaimOutcome("above", expected, bound=0.5),)
    assert found.seconds > 0


def test_each_claim_has_a_verdict_of_its_own(table):
    """Of several claims one may hold and another be refuted; the property is refuted."""

    @claim(above(0), below(1), within(1, 4))
    def prop(table):
        """Says something."""
        return Estimate(1.5, 0.5, 2.5, 0.95, "given", 3, "words")

    found = evaluate(Check(prop), table, Settings())
    assert [c.verdict for c in found.claims] == ["holds", "inconclusive", "inconclusive"]
    assert found.verdict is INCONCLUSIVE


def test_a_reason_makes_the_verdict_inconclusive(table):
    """An estimate that may not decide leaves every claim inconclusive, with the reason."""

    @claim(above(0), below(-5))
    def prop(table):
        """Says something."""
        return Estimate.exact(1.0, reason="only 4 pairs")

    found = evaluate(Check(prop), table, Settings())
    assert (found.verdict, found.reason, found.passed) == (
        INCONCLUSIVE,
        "inconclusive: 1 (exact), claimed above 0, below -5; only 4 pairs",
        False,
    )
    assert [c.verdict for c in found.claims] == ["inconclusive", "inconclusive"]


def test_what_can_not_be_measured_is_skipped(monkeypatch, table):
    """A table that lacks what a measure needs gives a skipped result with the reason, and no number."""
    monkeypatch.delenv("CI", raising=False)
    found = evaluate(Check(P.unmeasurable), table, Settings())
    assert (found.verdict, found.reason, found.estimate) == (SKIPPED, "no such words", None)
    assert found.passed
    monkeypatch.setenv("CI", "true")
    assert not found.passed


def test_a_property_must_return_an_estimate(table):
    """Another return value is a mistake in the property, named with its type."""

    @claim(above(0))
    def prop(table):
        """Says something."""
        return 0.7

    with pytest.raises(UsageError, match="property prop returned float; return an Estimate"):
        evaluate(Check(prop), table, Settings())


def test_errors_of_a_property_are_not_hidden(table):
    """An exception that a property raises is not taken for 'absent'."""

    @claim(above(0))
    def prop(table):
        """Says something."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(Check(prop), table, Settings())


def test_the_settings_are_in_force_inside_only(table):
    """A measure sees the run's settings, and nothing is left of them afterwards."""
    seen = []

    @claim(above(0))
    def prop(table):
        """Says something."""
        seen.append(current())
        raise NotMeasurable("seen enough")

    settings = Settings(seed=9, confidence_level=0.8, probes=20)
    evaluate(Check(prop), table, settings)
    assert seen == [settings]
    assert current() == Settings()


def test_only_properties_that_ask_get_a_generator(table):
    """``rng`` is supplied where the function takes it, derived from seed, property and parameters."""

    @claim(above(0), k=(1,))
    def prop(table, k, rng):
        """Says something."""
        return Estimate.exact(float(rng.random()))

    check = Check(prop, {"k": 1})
    value = evaluate(check, table, Settings(seed=4)).estimate.value
    assert value == rng_for(4, check).random()
    assert value == evaluate(check, table, Settings(seed=4)).estimate.value
    assert value != evaluate(check, table, Settings(seed=5)).estimate.value


def test_a_generator_does_not_change_between_releases():
    """The generator of a check is pinned: same seed, same property, same parameters, same numbers."""
    first = rng_for(0, Check(P.scaled, {"scale": 0.4}))
    assert first.integers(0, 2**32, 3).tolist() == [4291603709, 1034325086, 625862587]


def test_generators_differ_by_property_parameters_and_purpose():
    """Each property, parameter, purpose and seed has a stream of its own; parameters count by name."""
    relation = lexicons.relations("plural")[0]
    draws = [
        rng_for(*arguments).random()
        for arguments in (
            (0, Check(P.scaled, {"scale": 0.4})),
            (0, Check(P.scaled, {"scale": 0.6})),
            (0, Check(P.vacuous)),
            (0, Check(P.vacuous), "shuffled"),
            (0, Check(P.vacuous, {"relation": relation})),
            (1, Check(P.vacuous)),
        )
    ]
    assert len(set(draws)) == len(draws)
    assert draws[4] == rng_for(0, Check(P.vacuous, {"relation": "plural"})).random()


def test_checks_are_one_for_each_parameter():
    """Each value of a parameter makes a check, labelled by property and value."""
    assert [c.label for c in checks_of([P.scaled, P.vacuous])] == ["scaled[0.4]", "scaled[0.6]", "scaled[1]", "vacuous"]


# --- pass or fail -------------------------------------------------------------------------------------------------

PASSES = {
    # verdict: (outside CI, in CI, as an expected exception)
    HOLDS: (True, True, False),
    REFUTED: (False, False, True),
    INCONCLUSIVE: (False, False, True),
    SKIPPED: (True, False, True),
    NOT_APPLICABLE: (True, True, True),
    ERROR: (False, False, False),
}


@pytest.mark.parametrize("verdict", Verdict)
def test_what_passes(monkeypatch, verdict):
    """Only HOLDS passes, and what is not about the model; skipped does outside CI, exceptions where they don't hold."""
    outside, inside, excepted = PASSES[verdict]
    for value, expected in (("", outside), ("0", outside), ("false", outside), ("true", inside), ("1", inside)):
        monkeypatch.setenv("CI", value)
        assert judge(verdict) is expected
        assert judge(verdict, expected=False) is excepted


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("verdict", Verdict)
def test_nothing_vacuous_passes(verdict, expected):
    """A property that also holds on noise fails, whatever it finds and whatever was expected."""
    assert judge(verdict, expected=expected, vacuous=True) is False


def test_an_exception_that_holds_fails_and_says_so(table):
    """A known exception that has come to hold fails, with the way out; one that still does not hold passes."""
    right = evaluate(Check(P.scaled, {"scale": 0.4}), table, Settings(), expected=False)
    wrong = evaluate(Check(P.scaled, {"scale": 0.6}), table, Settings(), expected=False)
    assert (right.passed, right.reason, right.record.expected) == (
        True,
        "refuted: 0.4 (exact), claimed above 0.5",
        False,
    )
    assert (wrong.passed, wrong.verdict) == (False, HOLDS)
    assert "expects it not to; remove the exception" in wrong.reason


def test_a_check_that_could_not_run_is_an_error():
    """A check without a table has the message, no estimate, and error for every claim."""
    found = error_result(Check(P.scaled, {"scale": 1}), "no such file")
    assert (found.verdict, found.passed, found.reason, found.estimate) == (ERROR, False, "no such file", None)
    assert [c.verdict for c in found.claims] == ["error"]
    assert found.record.outcome == "fail"


# --- nulls --------------------------------------------------------------------------------------------------------


def test_a_null_that_the_measure_did_not_draw_is_drawn_199_times(table):
    """A property that beats a whole-table null is measured on 199 tables made by it; p is counted from them."""

    @claim(beats(nulls.gaussian))
    def prop(table):
        """Coordinates are larger than on noise."""
        return Estimate.exact(float(table.vectors.mean()))

    found = evaluate(Check(prop), table, Settings())
    draws = found.estimate.draws["gaussian"]
    assert (len(draws), found.verdict) == (199, HOLDS)
    assert abs(draws.mean()) < 0.05
    assert found.nulls == (NullResult("gaussian", float(np.median(draws)), 1 / 200),)


def test_a_null_on_noise_is_not_beaten():
    """On a table that is itself a draw of the null, p is anywhere but small."""

    @claim(beats(nulls.gaussian))
    def prop(table):
        """Coordinates are larger than on noise."""
        return Estimate.exact(float(table.vectors.mean()))

    noise = EmbeddingTable.from_arrays(np.random.default_rng(3).standard_normal((60, 5)), [f"t{i}" for i in range(60)])
    assert evaluate(Check(prop), noise, Settings()).nulls[0].p_value > 0.01


def test_a_null_may_change_parameters(table):
    """A null that relabels hands the property other parameters, and the table as it is."""

    def halved(table, parameters, rng):
        return table, {**parameters, "scale": parameters["scale"] / 2}

    @claim(beats(halved), scale=2.0)
    def prop(table, scale):
        """Says something."""
        return Estimate.exact(scale)

    found = evaluate(Check(prop, {"scale": 2.0}), table, Settings())
    assert set(found.estimate.draws["halved"]) == {1.0}


def test_draws_of_the_measure_are_not_drawn_again(table):
    """Where the measure returned draws of a null, those are used."""

    @claim(beats(nulls.gaussian))
    def prop(table):
        """Says something."""
        return Estimate.exact(1.0, draws={"gaussian": np.zeros(999)})

    assert evaluate(Check(prop), table, Settings()).nulls[0].p_value == 1 / 1000


# --- control ------------------------------------------------------------------------------------------------------


def test_a_vacuous_property_fails_its_control(table):
    """A property that holds on all 20 random tables says nothing of the model: it fails though its claim holds."""
    found = evaluate(Check(P.vacuous), table, Settings(), control=True)
    assert (found.verdict, found.passed) == (HOLDS, False)
    assert found.control == Control(tables=20, rows=60, holds=20, vacuous=True)
    assert found.reason.endswith("holds on 20 of 20 random tables")


def test_a_property_that_noise_fails_passes_its_control(table):
    """A property that no random table fulfils keeps its verdict."""

    @claim(above(0.3))
    def prop(table):
        """Coordinates are positive on the whole."""
        return Estimate.exact(float(table.vectors.mean()))

    found = evaluate(Check(prop), table, Settings(), control=True)
    assert found.passed
    assert (found.control.holds, found.control.vacuous, found.reason) == (0, False, None)


@pytest.mark.parametrize(("holds", "expected"), [(2, False), (3, True)])
def test_three_of_twenty_are_vacuous(monkeypatch, table, holds, expected):
    """Two random tables may hold by chance; three may not."""
    seen = iter([True] + [True] * holds + [False] * 20)  # the model itself, then its random tables

    @claim(above(0))
    def prop(table):
        """Says something."""
        return Estimate.exact(1.0 if next(seen) else -1.0)

    assert evaluate(Check(prop), table, Settings(), control=True).control.vacuous is expected


def test_tables_where_nothing_is_measured_do_not_hold(table):
    """A random table on which the property can't be measured does not count as holding."""
    tables = []

    @claim(above(0))
    def prop(table):
        """Says something."""
        tables.append(table)
        if len(tables) > 1:
            raise NotMeasurable("not on noise")
        return Estimate.exact(1.0)

    assert evaluate(Check(prop), table, Settings(), control=True).control.holds == 0
    assert len(tables) == 21
    assert len({float(t.vectors[0, 0]) for t in tables}) == 21  # each is another table


def test_what_should_hold_on_noise_has_no_control(table):
    """The control is for properties that noise must fail."""

    @claim(above(0), on_noise="holds")
    def prop(table):
        """Says something."""
        return Estimate.exact(1.0)

    assert evaluate(Check(prop), table, Settings(), control=True).control is None
    assert evaluate(Check(P.vacuous), table, Settings()).control is None


def test_the_control_is_cut_to_its_limit(monkeypatch, table):
    """Random tables have at most the stated number of rows."""
    monkeypatch.setattr(run_module, "CONTROL_ROWS", 25)
    assert evaluate(Check(P.vacuous), table, Settings(), control=True).control.rows == 25


# --- record -------------------------------------------------------------------------------------------------------


def test_a_record_is_plain_json(table):
    """A result's record has builtin types only, its arrays unwrapped and its NaN as null."""
    record = builtins(evaluate(Check(P.scaled, {"scale": 1}), table, Settings()).record)
    again = json.loads(json.dumps(record, allow_nan=False))
    assert again == record
    assert record["details"] == {"array": [0, 1], "nan": None}
    assert (record["property"], record["params"], record["outcome"]) == ("scaled", {"scale": 1}, "pass")
    assert (record["sentence"], record["version"], record["verdict"]) == ("A number is large.", 1, "holds")
    assert type(record["verdict"]) is str
    assert "expected" not in record
    assert record["estimate"]["exact"] is True


def test_a_record_names_parameters_that_are_no_numbers(table):
    """A relation is recorded by its name."""
    relation = lexicons.relations("plural")[0]

    @claim(above(0), relation=relation, k=2)
    def prop(table, relation, k):
        """Says something."""
        return Estimate.exact(1.0)

    check = Check(prop, {"relation": relation, "k": 2})
    assert evaluate(check, table, Settings()).record.params == {"relation": "plural", "k": 2}
    assert check.label == "prop[plural-2]"


def test_details_of_another_type_are_refused(table):
    """A detail that JSON does not have is a mistake in the measure, named by its type."""

    @claim(above(0))
    def prop(table):
        """Says something."""
        return Estimate.exact(1.0, details={"x": {1, 2}})

    with pytest.raises(EmbcheckError, match="got set"):
        _ = evaluate(Check(prop), table, Settings()).record


def test_the_reason_of_what_does_not_hold_says_what_decides(table):
    """In Python a refuted claim's reason has value, interval and bound, in the words of the report."""

    @claim(above(0.5))
    def short(table):
        """They are long."""
        return Estimate.from_units([0.1, 0.2, 0.15, 0.12], unit="words")

    found = evaluate(Check(short), table, Settings())
    assert found.reason == f"refuted: {measured_text(found.record)}, claimed above 0.5"
    assert found.record.reason is None
