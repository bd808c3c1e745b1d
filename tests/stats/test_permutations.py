"""Areas against ranks and all pairs; permutation tests: uniform draws, valid p-values, Holm's adjustment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embcheck.settings import Settings, using
from embcheck.stats import permutations

SAMPLE = st.lists(st.integers(-5, 5), min_size=1, max_size=20)
p_values = st.lists(st.floats(0, 1), max_size=12)


def test_a_p_value_counts_the_value_as_a_draw():
    """Ties count against the value, and no p-value is zero."""
    draws = np.array([0.1, 0.5, 0.5, 0.9])
    assert permutations.p_value(draws, 0.5) == 4 / 5
    assert permutations.p_value(draws, 2.0) == 1 / 5


def test_orders_are_uniform_permutations():
    """All six orders of three are drawn alike, the identity among them."""
    drawn = permutations.orders(3, 6_000, np.random.default_rng(0))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("chunk", [None, 1, 7, 50])
def test_draws_do_not_depend_on_chunks(monkeypatch, chunk):
    """One stream of random numbers, however many draws are worked out at once; settings say how many in all."""
    monkeypatch.setattr(permutations, "PERMUTATIONS", 40)

    def drawn(**how):
        rng = np.random.default_rng(1)
        return permutations.draw(lambda orders: orders[:, 0], lambda n: permutations.orders(5, n, rng), **how)

    np.testing.assert_array_equal(drawn(chunk=chunk), drawn())
    assert len(drawn(most=12, chunk=chunk)) == 12
    with using(Settings(draws=3)):
        assert len(drawn()) == 3


def test_holm_is_the_definition():
    """The k-th smallest is multiplied by how many of the family are left; none falls below one before it."""
    assert permutations.holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert permutations.holm([0.01, 0.02], family=10) == pytest.approx([0.1, 0.18])
    assert permutations.holm([0.3, 0.3], family=1) == pytest.approx([0.6, 0.6])


@given(p_values)
def test_holm_keeps_order_and_never_lowers(p):
    """Adjusted values stand in the order given, are no smaller than the p-values, and at most 1."""
    adjusted = permutations.holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


@given(SAMPLE, SAMPLE)
def test_areas_are_mann_and_whitneys(own, other):
    """The share of pairs with the larger value in the first sample, equal ones as half; U over n m."""
    x, y = np.array(own, dtype=float), np.array(other, dtype=float)
    pairs = (x[:, None] > y).mean() + (x[:, None] == y).mean() / 2
    assert np.isclose(permutations.area_over(x, y), pairs)
    assert np.isclose(permutations.area_over(x, y), stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))


@given(SAMPLE)
def test_midranks_are_those_of_scipy(values):
    """Equal values share the mean of their ranks, in an array of any shape."""
    cells = np.array([values, values], dtype=float)
    np.testing.assert_array_equal(permutations.midranks(cells), stats.rankdata(cells).reshape(cells.shape))
