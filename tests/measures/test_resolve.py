import numpy as np
import pytest

from embcheck.measures.resolve import random_pairs, resolve, scores, unit, word_rows
from embcheck.table import EmbeddingTable


@pytest.mark.parametrize("factor", [1e-300, 1.0, 1e300])
def test_unit_vectors_have_length_one_whatever_their_scale(factor):
    """Numbers whose squares leave the range of floats are scaled to length 1 all the same; zeros stay zeros."""
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(unit(vectors * factor), [[0.6, 0.8], [0, 0]], atol=1e-12)


def test_words_with_one_row_are_taken_once():
    """In an uncased vocabulary March and march are one row, and the first of them is kept; others are missing."""
    table = EmbeddingTable.from_arrays(np.eye(3, dtype=np.float32), ["march", "may", "june"])
    found = resolve(table, ["June", "March", "march", "july"])
    assert found.words == ("June", "March")
    assert found.rows.tolist() == [2, 0]
    assert found.coverage.missing == ("july",)
    np.testing.assert_array_equal(found.vectors, np.eye(3)[[2, 0]])


def test_random_pairs_are_pairs_of_different_rows(gaussian_table):
    """Each pair is two different rows of those given, with their cosine and dot product; all rows are drawn."""
    table = gaussian_table(300, 8)
    rows = np.arange(0, 60, 2)
    drawn = random_pairs(table, rows, 4_000, np.random.default_rng(0))
    vectors = table.vectors.double().numpy()[rows]
    dots = vectors @ vectors.T
    lengths = np.sqrt(np.diag(dots))
    off = ~np.eye(len(rows), dtype=bool)
    known = np.unique(np.round(dots[off], 4))
    assert np.isin(np.round(drawn.dots, 4), known).mean() > 0.99  # but for those at the edge of rounding
    assert len(np.unique(np.round(drawn.dots, 4))) == len(known)
    assert drawn.cosines.mean() == pytest.approx((dots / np.outer(lengths, lengths))[off].mean(), abs=0.03)
    assert drawn.cosines.max() < 0.999


def test_percentiles_are_shares_of_smaller_cosines(gaussian_table):
    """The percentile of a cosine is the percentage of random pairs with a smaller one."""
    table = gaussian_table(300, 8)
    drawn = random_pairs(table, table.population, 500, np.random.default_rng(0))
    assert drawn.percentile(-2) == 0
    assert drawn.percentile(2) == 100
    assert drawn.percentile(float(np.sort(drawn.cosines)[125])) == pytest.approx(25)


def test_few_word_tokens_are_replaced_by_the_population(gaussian_table):
    """Random words are word tokens; with fewer than 100 of them, any row of the population."""
    table = gaussian_table(300, 8, gaps=True)
    assert len(word_rows(table)) == 300 - 4
    numbers = EmbeddingTable.from_arrays(
        np.eye(120, dtype=np.float32), [*map(str, range(1000, 1100)), *map(chr, range(0x3B1, 0x3C5))]
    )
    assert len(word_rows(numbers)) == 120


def test_scores_are_cosines_with_every_row(gaussian_table):
    """Scores are the cosines of each query, of any length, with the rows of the population."""
    table = gaussian_table(300, 8, gaps=True)
    queries = np.random.default_rng(1).standard_normal((3, 8)) * [[1e-9], [1], [1e9]]
    rows = table.vectors.double().numpy()[table.population]
    expected = unit(queries) @ unit(rows).T
    np.testing.assert_allclose(scores(table, queries).numpy(), expected, atol=1e-6)
