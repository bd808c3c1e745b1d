import importlib
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embcheck import measures, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.words.last_digit_accuracy import shuffles
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

READOUTS = [measures.last_digit_accuracy, measures.residue_power]
few = settings(max_examples=15, deadline=None)


def table_of(vectors, values):
    return EmbeddingTable.from_arrays(np.asarray(vectors, dtype=np.float32), [str(value) for value in values])


def waves(values, periods, *, noise=0.0, width=8, seed=0):
    """Numbers with a circle for every period, each in a plane of its own, and noise."""
    values = np.asarray(values)
    vectors = np.random.default_rng(seed).standard_normal((len(values), width)) * noise
    for k, period in enumerate(periods):
        vectors[:, 2 * k] += np.cos(2 * math.pi * values / period)
        vectors[:, 2 * k + 1] += np.sin(2 * math.pi * values / period)
    return table_of(vectors, values)


def some(count, seed=0):
    return np.sort(np.random.default_rng(seed).choice(1_000, count, replace=False)).tolist()


def rng(seed=0):
    return np.random.default_rng(seed)


def units_of(table):
    return [row / math.sqrt(float((row**2).sum())) for row in table.vectors.double().numpy()]


def naive_accuracy(table, values):
    """Reference, number by number: which digit's mean, made without the number, is the nearest."""
    units, right = units_of(table), 0
    for i, value in enumerate(values):
        ends = defaultdict(list)
        for j, other in enumerate(values):
            if j != i:
                ends[other % 10].append(units[j])
        apart = {digit: math.dist(units[i], sum(rows) / len(rows)) for digit, rows in ends.items()}
        right += min(apart, key=apart.__getitem__) == value % 10
    return right / len(values)


def naive_power(table, values, periods=(2, 5, 10)):
    """Reference by least squares: the variance that regression on the waves explains, over its even share."""
    units = np.array(units_of(table))
    columns = [np.ones(len(values))]
    for period in periods:
        columns.append([math.cos(2 * math.pi * v / period) for v in values])
        if period > 2:
            columns.append([math.sin(2 * math.pi * v / period) for v in values])
    design = np.array(columns).T
    fitted = design @ np.linalg.lstsq(design, units, rcond=None)[0]
    explained = ((fitted - units.mean(0)) ** 2).sum() / ((units - units.mean(0)) ** 2).sum()
    return explained * (len(values) - 1) / (len(columns) - 1)


@pytest.mark.parametrize("width", [8, 150])
def test_both_values_are_those_of_their_definitions(width):
    """Accuracy and power equal the references, in tables narrower and wider than they have numbers."""
    values = some(120)
    table = waves(values, [10, 5], noise=0.7, width=width)
    accuracy, power = (measure(table, rng=rng()) for measure in READOUTS)
    assert accuracy.value == naive_accuracy(table, values)
    assert power.effect["value"] == pytest.approx(naive_power(table, values), rel=1e-6)
    assert power.value == pytest.approx(math.log(naive_power(table, values)), abs=1e-6)
    for period in (2, 5, 10):
        times = power.details["periods"][str(period)]["times"]
        assert times == pytest.approx(naive_power(table, values, (period,)), rel=1e-6)
    assert (power.is_exact, accuracy.is_exact, power.n, accuracy.n) == (True, False, 120, 120)


def test_circles_of_period_ten_are_read_and_have_all_the_power():
    """Where a vector is its last digit all are read right, and all variance is at periods 2, 5 and 10: (n - 1) / 5."""
    table = waves(range(1_000), [10, 5])
    accuracy, power = (measure(table, rng=rng()) for measure in READOUTS)
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert power.effect["value"] == pytest.approx(999 / 5, rel=1e-6)
    assert power.details["periods"]["2"]["times"] == pytest.approx(0, abs=1e-9)
    assert power.details["periods"]["10"]["times"] == pytest.approx(999 / 4, rel=1e-6)  # half of it, in 2 of 999


def test_other_periods_have_none():
    """A circle of period 8, over all thousand numbers, is orthogonal to those of 2, 5 and 10."""
    assert measures.residue_power(waves(range(1_000), [8]), rng=rng()).effect["value"] == pytest.approx(0, abs=1e-9)


def test_a_digit_that_one_number_has_is_read_wrong():
    """A number without another that ends like it has no centroid of its own."""
    values = [v for v in range(200) if v % 10 != 7] + [207]
    table = waves(values, [10, 5])
    accuracy = measures.last_digit_accuracy(table, rng=rng())
    assert accuracy.value == pytest.approx(180 / 181)
    assert accuracy.details["right_by_digit"]["7"] == 0
    assert accuracy.counterexamples[0]["token"] == "207"


@pytest.mark.parametrize("measure", READOUTS)
def test_the_null_function_draws_what_the_measure_draws(measure):
    """On tables whose numbers nulls.shuffled_numbers moved, values have the distribution of the own draws."""
    table, generator = waves(some(150), [10], noise=1.0), rng(1)
    draws = measure(table, rng=rng()).draws["shuffled_numbers"]
    with_one_draw = Settings(draws=1)
    slow = []
    for _ in range(150):
        moved, _ = nulls.shuffled_numbers(table, {}, generator)
        slow.append(evaluate_value(measure, moved, with_one_draw))
    assert len(draws) == 999
    assert stats.ks_2samp(slow, draws).pvalue > 0.001


def evaluate_value(measure, table, chosen):
    with using(chosen):
        return measure(table, rng=rng()).value


def test_shuffles_keep_how_many_digits_a_number_has():
    """Each shuffle is a permutation in which numbers of one, two and three digits change places among themselves."""
    values = np.array(some(300))
    orders = shuffles(values, 50, rng())
    lengths = np.array([len(str(v)) for v in values])
    assert orders.shape == (50, 300)
    assert all(sorted(order) == list(range(300)) and (lengths[order] == lengths).all() for order in orders)
    assert (orders != np.arange(300)).any(1).all()


@pytest.mark.parametrize("measure", READOUTS)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@few
def test_rotation_lengths_and_the_order_of_rows_change_nothing(measure, seed, factor):
    """An orthogonal map, a factor for each row and another order of rows leave the value as it is."""
    values, generator = some(110, seed), rng(seed)
    table = waves(values, [10], noise=0.5, seed=seed)
    turned = table.vectors.double().numpy() @ np.linalg.qr(generator.standard_normal((8, 8)))[0]
    moved, order = turned * generator.uniform(0.5, 2, (110, 1)) * factor, generator.permutation(110)
    after = evaluate_value(measure, table_of(moved[order], [values[i] for i in order]), Settings(draws=1))
    assert after == pytest.approx(evaluate_value(measure, table, Settings(draws=1)), abs=1e-4)


def checks():
    return checks_of([importlib.import_module("embcheck.properties.number_residues").number_residues])


def test_planted_residues_hold_and_noise_does_not():
    """Numbers round a circle of ten hold by both readouts; numbers round one of seven, and noise, do not."""
    values = some(300)
    for periods, expected in (([10], True), ([7], False), ([], False)):
        table = waves(values, periods, noise=0.5, seed=1)
        verdicts = [evaluate(check, table, Settings()).verdict for check in checks()]
        assert [verdict is Verdict.HOLDS for verdict in verdicts] == [expected] * 2


def test_a_hundred_numbers_are_needed():
    """With 99 number tokens the property is not applicable, and its measures say why; with 100 it is asked."""
    for count, verdict in ((99, Verdict.NOT_APPLICABLE), (100, Verdict.HOLDS)):
        table = waves(some(count), [10])
        assert {evaluate(check, table, Settings()).verdict for check in checks()} == {verdict}
    assert evaluate(checks()[0], waves(some(99), [10]), Settings()).reason == "99 of 1000 number tokens"
    for measure in READOUTS:
        with pytest.raises(NotMeasurable, match="99 numbers are single tokens here; at least 100 are needed"):
            measure(waves(some(99), [10]), rng=rng())
    with pytest.raises(NotMeasurable, match="all 100 numbers have the same direction"):
        measures.residue_power(table_of(np.ones((100, 4)), range(100)), rng=rng())
