"""The area of two samples, against ranks and against all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embcheck.stats.permutations import area_over

SAMPLE = st.lists(st.integers(-5, 5), min_size=1, max_size=20)


@given(SAMPLE, SAMPLE)
def test_it_is_mann_and_whitneys(own, other):
    """The share of pairs with the larger value in the first sample, equal ones as half; U over n m."""
    x, y = np.array(own, dtype=float), np.array(other, dtype=float)
    pairs = (x[:, None] > y).mean() + (x[:, None] == y).mean() / 2
    assert np.isclose(area_over(x, y), pairs)
    assert np.isclose(area_over(x, y), stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))
