"""The simulations find what is miscalibrated, and say why where a column does not apply."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from embcheck import Estimate, NotMeasurable, above, beats, below, claim, lexicons, measures, nulls
from embcheck.checks.evaluate import checks_of
from embcheck.selftest import Plan, Stage, examine, stage_of
from embcheck.selftest.examine import coverage_limits, most_passes
from embcheck.selftest.plants import SHAPES, plant_of, shaped

PLAN = Plan(tables=20, redraws=100)
PAIRS = (("tall", "taller"), ("warm", "warmer"), ("slow", "slower"), ("soft", "softer"), ("dark", "darker"))


def row_of(function, plan=PLAN):
    (row,) = examine(checks_of([function]), plan)["properties"]
    return row


def entries(table, count=40):
    """The first column of some rows: independent standard normal numbers on noise."""
    return table.vectors[:count, 0].double().numpy()


@claim(above(0.3))
def entries_are_positive(table):
    """The first entries of rows are positive."""
    return Estimate.from_units(entries(table), unit="rows")


def narrowed(estimate, by):
    ends = (estimate.value + (end - estimate.value) * by for end in (estimate.low, estimate.high))
    return dataclasses.replace(estimate, **dict(zip(("low", "high"), ends, strict=True)))


@claim(above(0.3))
def entries_with_half_an_interval(table):
    """The first entries of rows are positive, as sure as twice."""
    return narrowed(entries_are_positive(table), 0.5)


@claim(above(0.3))
def entries_with_three_intervals(table):
    """The first entries of rows are positive, as unsure as three times."""
    return narrowed(entries_are_positive(table), 3)


@claim(above(-3))
def not_all_negative(table):
    """Something that noise has too."""
    return entries_are_positive(table)


@claim(above(0.4))
def half_of_noise(table):
    """A share that can be measured exactly."""
    return measures.non_negative_share(table.subset(np.arange(120)))


CHEAP = (entries_are_positive, entries_with_half_an_interval, entries_with_three_intervals, not_all_negative)
for _property in (*CHEAP, half_of_noise):
    _property.__test__ = False  # they are simulated here, not checked


def test_a_sound_property_is_calibrated():
    """A mean with Student's interval covers, holds on no noise, and the columns that do not apply say so."""
    row = row_of(entries_are_positive)
    (case,) = row["cases"]
    assert (row["calibrated"], row["faults"], row["reason"], row["uniform"]) == (True, [], None, None)
    assert case["noise"] == {"tables": 20, "holds": 0, "uniform": None, "reason": None}
    assert case["planted"] == {"tables": 0, "found": 0, "reason": "nothing planted"}
    assert row["coverage"]["redraws"] == 100
    assert row["coverage"]["target"] == "the mean of all redraws"
    assert coverage_limits(100)[0] <= row["coverage"]["share"] <= 1


def test_an_interval_of_half_the_width_is_caught():
    """Student's interval at half its width covers 67% instead of 95%."""
    row = row_of(entries_with_half_an_interval)
    assert row["coverage"]["share"] == pytest.approx(0.67, abs=0.15)
    (fault,) = row["faults"]
    assert fault.startswith("intervals cover")
    assert not row["calibrated"]


def test_an_interval_that_is_too_wide_is_no_fault():
    """Three times the width covers everything: it makes no false claim."""
    row = row_of(entries_with_three_intervals)
    assert (row["coverage"]["share"], row["calibrated"]) == (1.0, True)


def test_a_property_that_holds_on_noise_is_caught():
    """It holds on all tables of noise, where it must fail."""
    row = row_of(not_all_negative)
    assert row["faults"] == ["holds on 20 of 20 tables of noise, more than 4"]


def test_a_property_that_must_hold_on_noise_and_does_not_is_caught():
    """The same limits work the other way round; a property that may do either has none."""

    def fresh(**about):
        @claim(below(-3), **about)
        def less_than_noise(table):
            """Something that noise does not have."""
            return entries_are_positive(table)

        return less_than_noise

    assert row_of(fresh(on_noise="holds"))["faults"] == ["fails on 20 of 20 tables of noise, more than 2"]
    assert row_of(fresh(on_noise="any"))["faults"] == []


def test_p_values_that_are_too_small_are_caught():
    """A null whose draws are too small makes p-values that are not uniform; drawn honestly they are."""

    def fresh(offset):
        @claim(beats(nulls.gaussian), on_noise="any")
        def first_entry(table, rng):
            """The first entry is large."""
            value = float(table.vectors[0, 0])
            return Estimate.exact(value, draws={"gaussian": rng.standard_normal(99) - offset})

        return first_entry

    assert row_of(fresh(1.5))["faults"][0].startswith("p-values on noise are not uniform")
    honest = row_of(fresh(0.0))
    assert (honest["faults"], honest["coverage"]["reason"]) == ([], "exact")
    assert honest["uniform"] == honest["cases"][0]["noise"]["uniform"]["gaussian"] > 0.001


def test_nulls_that_replace_the_table_are_drawn_too():
    """A property without draws of its own is measured on tables of its null, as when it is checked."""

    @claim(beats(nulls.gaussian))
    def long_sum(table):
        """The sum of some rows is long."""
        return Estimate.exact(float(torch.linalg.vector_norm(table.vectors[:50].sum(0))))

    row = row_of(long_sum)
    assert (row["faults"], list(row["cases"][0]["noise"]["uniform"])) == ([], ["gaussian"])


def test_a_plant_of_ones_own_gives_power():
    """What a property declares as planted is put into noise: seen on all tables, or reported where it is not."""

    def fresh(strength):
        def plant(table, parameters, rng):
            return table.with_vectors(table.vectors + strength)

        @claim(above(0.3), planted=plant)
        def shifted_entries(table):
            """The first entries of rows are positive."""
            return Estimate.from_units(entries(table), unit="rows")

        return shifted_entries

    assert row_of(fresh(2.0))["cases"][0]["planted"] == {"tables": 5, "found": 5, "reason": None}
    assert row_of(fresh(-2.0))["faults"] == ["finds what was planted on 0 of 5 tables, less than 80%"]


def test_what_is_planted_is_the_same_on_every_table():
    """Directions are those of every table, so that the mean of all redraws is what each of them is about."""
    seen = []

    def plant(table, parameters, rng):
        seen.append(rng.standard_normal(3))
        return table

    @claim(above(0.3), planted=plant)
    def plain(table):
        """The first entries of rows are positive."""
        return Estimate.from_units(entries(table), unit="rows")

    row_of(plain, Plan(20, 20))
    assert len(seen) > 20
    assert all(np.array_equal(seen[0], other) for other in seen)


@pytest.mark.slow
def test_probes_of_one_table_are_held_against_its_exact_value():
    """Where all units can be measured, the exact value is the target and the table stays the same."""
    row = row_of(half_of_noise)
    assert row["coverage"]["target"] == "the exact value"
    assert row["coverage"]["share"] >= coverage_limits(100)[0]


def test_no_reason_is_missing():
    """A property that can't be simulated says why, and is no fault; one that is written wrongly is."""

    @claim(above(0))
    def never(table):
        """Nothing is ever there."""
        raise NotMeasurable("too few toys")

    @claim(above(0))
    def with_fixture(table, tmp_path):
        """Only pytest knows."""

    @claim(above(0))
    def wrong(table):
        """No estimate."""
        return 3

    @claim(above(0))
    def spreadless(table):
        """All values are equal."""
        return Estimate.from_units([1.0, 1.0, 1.0], unit="toys")

    assert row_of(never)["reason"] == "skipped: too few toys"
    assert row_of(with_fixture)["reason"] == "only pytest supplies tmp_path"
    assert row_of(spreadless)["coverage"]["reason"] == "no interval"
    found = row_of(wrong)
    assert found["reason"].startswith("can't be run: property wrong returned int")
    assert [row_of(f)["calibrated"] for f in (never, with_fixture)] == [True, True]
    assert not found["calibrated"]


def test_tables_have_the_words_that_a_check_asks_for():
    """Words of parameters, and words that a property asks for one after the other when it runs, are tokens."""

    @claim(above(0), relation=lexicons.relation("made up", PAIRS))
    def asks_on(table, relation, rng):
        """Words that follow from others."""
        for word in ("zebra", "yellow", "xylophone"):
            table.directions([word])
        return measures.offset_consistency(table, relation, rng=rng)

    stage = stage_of(checks_of([asks_on])[0])
    tokens = set(stage.table.tokens)
    assert {"zebra", "yellow", "xylophone", *(word for pair in PAIRS for word in pair)} <= tokens
    assert len(tokens) == len(stage.table.tokens) == 1_500


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_what_they_are_called(shape):
    """Half of the rows keep noise; lengths are lognormal; clusters share half their variance; a mean is common."""
    table = stage_of(checks_of([entries_are_positive])[0]).noise(0, 1)
    marked = shaped(shape, table, lambda noise: noise.with_vectors(noise.vectors + 10), np.random.default_rng(3))
    before, after = table.vectors.double().numpy(), marked.vectors.double().numpy()
    if shape == "heterogeneous":
        kept = (after == before).all(1)
        assert kept.mean() == pytest.approx(0.5, abs=0.05)
        np.testing.assert_array_equal(after[~kept], (table.vectors + 10).double().numpy()[~kept])
    elif shape == "heavy lengths":
        factor = np.log(np.linalg.norm(after, axis=1) / np.linalg.norm((table.vectors + 10).double().numpy(), axis=1))
        assert (factor.mean(), factor.std()) == pytest.approx((0, 1), abs=0.1)
    elif shape == "clustered":
        near = np.sort(np.corrcoef(after - 10), axis=1)[:, -2]
        assert (after - 10).std() == pytest.approx(1, abs=0.03)
        assert 0.5 < np.median(near) < 0.9
    else:
        assert (after - before).mean() == pytest.approx(10.5, abs=1e-4)


def test_noise_is_of_its_own_seed():
    """Two seeds give independent tables of standard normal numbers, one seed the same table."""
    stage = stage_of(checks_of([entries_are_positive])[0])
    assert isinstance(stage, Stage)
    first, again, other = (stage.noise(0, k).vectors.double().numpy().ravel() for k in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 5 / math.sqrt(len(first))
    assert (first.mean(), first.std()) == pytest.approx((0, 1), abs=0.03)


def test_limits_are_those_of_the_design():
    """18 of 200 false passes and 92 to 98% of 2,000 redraws; fewer simulations widen what chance can do."""
    assert (most_passes(200), most_passes(20)) == (18, 4)
    assert coverage_limits(2_000) == (0.92, 0.98)
    low, high = coverage_limits(100)
    assert (0.85 < low < 0.92, 0.98 < high <= 1) == (True, True)


def test_rows_do_not_depend_on_what_else_is_simulated():
    """A property's row is the same alone and among others."""
    together = examine(checks_of([not_all_negative, entries_are_positive]), PLAN)["properties"]
    assert together == [row_of(not_all_negative), row_of(entries_are_positive)]


def test_plants_are_known_for_every_property_but_the_yardstick(shipped):
    """Each property that ships has its structure planted, known by its measure; two hold on noise by design."""
    checks = {check.declaration.id: check for check in shipped if not check.declaration.fixtures}
    for name in checks.keys() - {"random_baseline", "intact_rows", *UNPLANTED}:
        assert plant_of(checks[name], stage_of(checks[name]).measure) is not None, name


def test_a_property_of_ones_own_has_the_plant_of_its_measure():
    """Its structure is planted where it takes the words by the same parameter; what it declares itself comes first."""

    @claim(above(0.05), relation=lexicons.relation("made up", PAIRS))
    def comparatives(table, relation, rng):
        """Offsets agree."""
        return measures.offset_consistency(table, relation, rng=rng)

    @claim(above(0.05))
    def fixed_words(table, rng):
        """Offsets agree."""
        return measures.offset_consistency(table, lexicons.relation("made up", PAIRS), rng=rng)

    first, second = checks_of([comparatives, fixed_words])
    assert stage_of(first).measure == stage_of(second).measure == "offset_consistency"
    assert plant_of(first, "offset_consistency") is not None
    assert plant_of(second, "offset_consistency") is None
    declared = dataclasses.replace(first.declaration, planted=lambda table, parameters, rng: table)
    comparatives.__embcheck__ = declared
    assert plant_of(checks_of([comparatives])[0], "offset_consistency") is declared.planted


UNPLANTED = (
    "matrix_alignment",
    "neighbor_overlap",
    "relative_orientation",
    "reproduces_published_figures",
    "tied_output",
    "token_neuron_middle_men",
    "token_neuron_profiles",
)
