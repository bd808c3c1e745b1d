import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict, beats
from embcheck.errors import NotMeasurable
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

CIRCLES = lexicons.sequences("months", "weekdays")
MONTHS, WEEKDAYS = CIRCLES


def table_of(vectors, words):
    return EmbeddingTable.from_arrays(np.asarray(vectors, dtype=np.float32), list(words))


def waves(sequence, amplitudes, *, noise=0.0, width=14, seed=0):
    """Words round a circle: a wave of amplitude a_k for every frequency k, in a plane of its own, and noise."""
    angle = 2 * math.pi * np.arange(len(sequence.words)) / len(sequence.words)
    vectors = np.random.default_rng(seed).standard_normal((len(angle), width)) * noise
    for k, amplitude in enumerate(amplitudes, 1):
        vectors[:, 2 * k - 2] += amplitude * np.cos(k * angle)
        vectors[:, 2 * k - 1] += amplitude * np.sin(k * angle)
    return table_of(vectors, sequence.words)


def share(table, sequence, seed=0):
    return measures.circulant_share(table, sequence, rng=np.random.default_rng(seed))


def naive(table, sequence):
    """Reference, cell by cell: how much nearer the Gram matrix is to its means by distance than to its mean."""
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    at = [i for i, word in enumerate(sequence.words) if word in rows]
    units = [rows[sequence.words[i]] / math.sqrt(sum(x * x for x in rows[sequence.words[i]])) for i in at]
    middle = sum(units) / len(units)
    cells = []
    for i in range(len(at)):
        for j in range(i):
            apart = (at[i] - at[j]) % len(sequence.words)
            product = float(np.dot(units[i] - middle, units[j] - middle))
            cells.append((min(apart, len(sequence.words) - apart), product))
    mean = math.fsum(product for _, product in cells) / len(cells)
    left = 0.0
    for distance in {distance for distance, _ in cells}:
        own = [product for d, product in cells if d == distance]
        left += math.fsum((product - math.fsum(own) / len(own)) ** 2 for product in own)
    return 1 - left / math.fsum((product - mean) ** 2 for _, product in cells)


@pytest.mark.parametrize("sequence", CIRCLES, ids=str)
def test_the_value_is_that_of_the_definition(sequence):
    """The share equals one summed cell by cell, is exact, and its parts have it as their mean."""
    table = waves(sequence, [1.0], noise=0.6, seed=4)
    estimate = share(table, sequence)
    assert estimate.value == pytest.approx(naive(table, sequence), abs=1e-9)
    assert (estimate.is_exact, estimate.low, estimate.n) == (True, estimate.value, len(sequence.words))
    assert np.mean(estimate.parts[0].values) == pytest.approx(estimate.value, abs=1e-12)


@pytest.mark.parametrize("sequence", CIRCLES, ids=str)
def test_waves_round_the_circle_are_circulant(sequence):
    """For any amplitudes the Gram matrix is circulant: a share of 1, and of the circle that of the first amplitude."""
    estimate = share(waves(sequence, [3.0, 2.0, 1.0]), sequence)
    assert estimate.value == pytest.approx(1.0, abs=1e-9)
    assert estimate.effect["value"] == pytest.approx(9 / 14, abs=1e-6)


def test_means_by_distance_are_cosines_of_the_angle():
    """Round one circle the mean product at distance g is cos(2 pi g / n)."""
    details = share(waves(MONTHS, [1.0]), MONTHS).details
    assert details["distances"] == [1, 2, 3, 4, 5, 6]
    expected = [math.cos(2 * math.pi * g / 12) for g in range(1, 7)]
    assert details["mean_product_by_distance"] == pytest.approx(expected, abs=1e-6)


def test_seven_words_are_tested_exactly():
    """Of all 5,040 orders of a perfect circle the 42 with a x place + b, modulo 7, tie with it, and no other."""
    estimate = share(waves(WEEKDAYS, [1.0], noise=0.05), WEEKDAYS)
    draws = estimate.draws["shuffled_order"]
    assert (len(draws), int((draws == estimate.value).sum())) == (5_039, 41)
    assert beats(nulls.shuffled_order).p_value(estimate) == 42 / 5_040


def test_draws_are_values_under_other_orders():
    """Under the null's own reordered sequences the definition gives values with the draws' mean and spread."""
    table, rng = waves(MONTHS, [1.0], noise=1.0), np.random.default_rng(3)
    slow = [naive(table, nulls.shuffled_order(table, {"sequence": MONTHS}, rng)[1]["sequence"]) for _ in range(200)]
    draws = share(table, MONTHS).draws["shuffled_order"]
    assert len(draws) == 9_999
    assert np.mean(slow) == pytest.approx(draws.mean(), abs=4 * draws.std() / math.sqrt(200))
    assert np.std(slow) == pytest.approx(draws.std(), rel=0.2)


def test_missing_words_leave_the_others_in_their_places():
    """Where months are no single tokens the others keep their places; fewer than seven words are not measured."""
    kept = [0, 1, 3, 4, 6, 8, 9, 11]
    whole = waves(MONTHS, [1.0], noise=0.4)
    part = table_of(whole.vectors[kept], [MONTHS.words[i] for i in kept])
    assert share(part, MONTHS).value == pytest.approx(naive(part, MONTHS), abs=1e-9)
    with pytest.raises(NotMeasurable, match="6 of 7 weekdays are single tokens here; at least 7 are needed"):
        share(table_of(np.eye(6), WEEKDAYS.words[:6]), WEEKDAYS)


def test_words_that_are_all_equally_apart_have_no_order():
    """The corners of a simplex have equal products: nothing to explain."""
    with pytest.raises(NotMeasurable, match="all 66 products of centred months are equal"):
        share(table_of(np.eye(12), MONTHS.words), MONTHS)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6), turn=st.integers(0, 11), mirrored=st.booleans())
@settings(max_examples=20, deadline=None)
def test_rotation_lengths_rows_and_where_the_year_begins_change_nothing(seed, factor, turn, mirrored):
    """An orthogonal map, a factor for each row, the order of rows, and another first month or sense leave the value."""
    rng = np.random.default_rng(seed)
    table = waves(MONTHS, [1.0], noise=0.5, seed=seed)
    vectors, order = table.vectors.double().numpy(), rng.permutation(12)
    moved = vectors @ np.linalg.qr(rng.standard_normal((14, 14)))[0] * rng.uniform(0.5, 2, (12, 1)) * factor
    words = MONTHS.words[turn:] + MONTHS.words[:turn]
    same = replace(MONTHS, words=words[::-1] if mirrored else words)
    after = share(table_of(moved[order], [MONTHS.words[i] for i in order]), same)
    before = share(table, MONTHS)
    assert (after.value, after.effect["value"]) == pytest.approx((before.value, before.effect["value"]), abs=1e-4)


@pytest.mark.parametrize("sequence", CIRCLES, ids=str)
def test_planted_circles_hold_and_noise_does_not(sequence):
    """Words round a circle hold; the same noise without it does not."""
    function = importlib.import_module("embcheck.properties.cyclic_order").cyclic_order
    planted, noise = waves(sequence, [1.0], noise=0.1, seed=2), waves(sequence, [], noise=0.1, seed=2)
    verdicts = [evaluate(Check(function, {"sequence": sequence}), t, Settings()).verdict for t in (planted, noise)]
    assert verdicts[0] is Verdict.HOLDS
    assert verdicts[1] is not Verdict.HOLDS
