"""Rungs keep what they say of a table, and nothing that they don't."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck.nulls.rungs import ALIKE, RUNGS, Surrogates, oas
from embcheck.table import EmbeddingTable

LETTERS = "abcdefgh"


def words(count):
    """Words of eight first letters and lengths from 3 to 5, every other one behind a space."""
    made = (f"{LETTERS[i % 8]}{'x' * (i // 16 % 3)}{i:05d}" for i in range(count))
    return [f" {word}" if i % 2 else word for i, word in enumerate(made)]


def table_of(rows=2_000, width=6, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width)) + 2 * rng.standard_normal(width)
    vectors = np.round(mixed * rng.lognormal(0, 0.3, (rows, 1)), 1).astype(np.float32)
    return EmbeddingTable.from_arrays(vectors, words(rows))


def drawn(table, rung, rows=None, seed=1):
    surrogates = Surrogates(table, table.population if rows is None else rows)
    return surrogates.draw(rung, np.random.default_rng(seed)).vectors.numpy().astype(np.float64)


def moments(vectors):
    return vectors.mean(0), np.cov(vectors.T, bias=True)


@pytest.mark.parametrize("rung", ["covariance", "marginals"])
def test_mean_and_covariance_are_kept(rung):
    """From the third rung on, the first two moments are those of the table, within sampling error."""
    table = table_of(20_000)
    real, other = moments(table.vectors.numpy().astype(np.float64)), moments(drawn(table, rung))
    np.testing.assert_allclose(other[0], real[0], atol=0.15)
    tolerance = 0.1 if rung == "covariance" else 0.15  # by rank, a little of the correlation goes
    np.testing.assert_allclose(other[1], real[1], atol=tolerance * np.abs(real[1]).max())


def test_the_lower_rungs_keep_no_more():
    """Noise has no mean and one variance; about the mean all directions vary alike."""
    table = table_of(20_000)
    real = moments(table.vectors.numpy().astype(np.float64))
    noise, about = moments(drawn(table, "gaussian")), moments(drawn(table, "mean"))
    np.testing.assert_allclose(noise[0], 0, atol=0.15)
    np.testing.assert_allclose(about[0], real[0], atol=0.15)
    assert np.trace(noise[1]) == pytest.approx(np.trace(real[1]) + real[0] @ real[0], rel=0.03)
    for covariance, variance in ((noise[1], np.trace(noise[1]) / 6), (about[1], np.trace(real[1]) / 6)):
        np.testing.assert_allclose(covariance, variance * np.eye(6), atol=0.06 * variance)


def test_columns_keep_their_values_and_rows_their_lengths():
    """Column marginals are the very numbers, quantized ones too; on the next rung each token has its own length."""
    table = table_of()
    real = table.vectors.numpy()
    np.testing.assert_array_equal(np.sort(drawn(table, "marginals"), 0), np.sort(real, 0))
    lengths = np.linalg.norm(drawn(table, "lengths"), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(real.astype(np.float64), axis=1), rtol=1e-5)


@pytest.mark.parametrize("rung", ["frequency", "spelling"])
def test_rows_are_dealt_out_anew(rung):
    """The rows are the same as a whole, few tokens keep their own, and those near by id or spelt alike give theirs."""
    table = table_of()
    real = table.vectors.numpy()
    marked = table.with_vectors(torch.arange(1.0, len(real) + 1)[:, None].expand(real.shape).clone())
    source = drawn(marked, rung)[:, 0].astype(int) - 1
    assert sorted(source) == sorted(set(source)) == list(range(len(real)))
    assert (source == np.arange(len(real))).mean() < 1.5 / ALIKE
    if rung == "frequency":
        assert np.abs(source - np.arange(len(real))).max() < 130
    else:
        written = [(token[:1] == " ", len(token), token.strip()[0]) for token in table.tokens]
        assert written == [written[row] for row in source]


@given(rows=st.lists(st.integers(0, 1_999), min_size=40, max_size=80, unique=True), rung=st.sampled_from(RUNGS))
@settings(max_examples=20, deadline=None)
def test_some_rows_are_enough(rows, rung):
    """A rung is drawn for any rows of a table, under their own tokens, with moments and pools of all rows."""
    table = table_of()
    surrogates = Surrogates(table, np.sort(rows))
    made = surrogates.draw(rung, np.random.default_rng(0))
    assert made.vectors.shape == (len(rows), 6)
    assert list(made.tokens) == [table.token(row) for row in sorted(rows)]


def test_shuffled_rows_are_the_rows():
    """Dealt out among some of the tokens, the others keep theirs."""
    table = table_of(50)
    surrogates = Surrogates(table, np.arange(50))
    made = surrogates.shuffled(np.arange(20), np.random.default_rng(0)).vectors.numpy()
    real = table.vectors.numpy()
    np.testing.assert_array_equal(made[20:], real[20:])
    assert sorted(map(tuple, made[:20])) == sorted(map(tuple, real[:20]))
    assert not np.array_equal(made[:20], real[:20])


def test_a_covariance_of_few_rows_is_shrunk():
    """The sample covariance of half as many rows as columns is flat; shrunk it is round. Many rows stay as they are."""
    rng = np.random.default_rng(0)
    few = rng.standard_normal((32, 64))
    sample = np.cov(few.T, bias=True)
    ratio = lambda matrix: np.trace(matrix) ** 2 / (matrix**2).sum() / 64  # noqa: E731 - participation ratio
    assert ratio(sample) < 0.4
    assert ratio(oas(sample, 32)) > 0.95
    assert np.trace(oas(sample, 32)) == pytest.approx(np.trace(sample))
    planted = np.diag(np.r_[10.0, np.ones(63)])
    np.testing.assert_allclose(oas(planted, 10**6), planted, atol=1e-3)
