"""The order of words in real matrices, against scipy and an independent Mantel test."""

import math

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.claims import beats


def by_hand(table, sequence):
    """The words that are one token; cosine of every two, and how far apart they stand, one by one in float64."""
    words = [word for word, row in zip(sequence.words, table.rows(sequence.words), strict=True) if row is not None]
    rows = {word: table.vectors[row].double().numpy() for word, row in zip(words, table.rows(words), strict=True)}
    cosines, gaps = [], []
    for i, first in enumerate(words):
        for second in words[i + 1 :]:
            x, y = rows[first], rows[second]
            cosines.append(float(x @ y) / math.sqrt(float(x @ x) * float(y @ y)))
            steps = sequence.words.index(second) - sequence.words.index(first)
            gaps.append(min(steps, len(sequence.words) - steps) if sequence.cyclic else steps)
    return words, np.array(cosines), np.array(gaps)


@pytest.mark.parametrize("sequence", lexicons.sequences(), ids=str)
def test_the_order_of_real_words_is_scipys_and_mantels(real, sequence):
    """On demo, GloVe and Google News the value is scipy's Spearman, and p is that of the package mantel."""
    mantel = pytest.importorskip("mantel")
    words, cosines, gaps = by_hand(real, sequence)
    if len(words) < 6:
        pytest.skip(f"only {len(words)} {sequence} are single tokens here")
    found = measures.order_agreement(real, sequence, rng=np.random.default_rng(3))
    assert found.value == pytest.approx(stats.spearmanr(cosines, -gaps).statistic, abs=1e-12)
    p_value, draws = beats(nulls.shuffled_order).p_value(found), found.draws["shuffled_order"]
    np.random.seed(5)  # noqa: NPY002 - the only randomness that the package knows
    reference = mantel.test(1 - cosines, gaps, perms=0 if len(words) <= 8 else 9_999, method="spearman", tail="upper")
    assert reference.r == pytest.approx(found.value, abs=1e-12)
    if len(words) <= 8:
        everything = np.append(draws, found.value)
        np.testing.assert_allclose(np.sort(everything), np.sort(reference.correlations), atol=1e-12)
        assert p_value == pytest.approx((reference.correlations >= reference.r - 1e-12).mean(), abs=1e-12)
    else:
        both = (p_value + reference.p) / 2
        assert abs(p_value - reference.p) <= 5 * math.sqrt(2 * both * (1 - both) / 9_999)
        assert stats.ks_2samp(draws, reference.correlations).pvalue > 0.001
