import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import measures
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.geometry import kept_neighbors
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

few = settings(max_examples=10, deadline=None)


def measured(vectors, words, by, **options):
    table = EmbeddingTable.from_arrays(vectors, words(len(vectors)))
    with using(Settings(probes="all", **options)):
        return measures.kept_neighbors(table, by=by, rng=np.random.default_rng(0))


def ten_nearest(rows):
    """By every cosine in float64, row by row; of equal ones the first."""
    lists = []
    for i, a in enumerate(rows):
        cosine = [
            -math.inf if j == i else round(float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)), 12)
            for j, b in enumerate(rows)
        ]
        lists.append(set(np.argsort(-np.array(cosine), kind="stable")[:10].tolist()))
    return lists


NAIVE = {
    "int8": lambda rows: np.array([[round(127 * x / max(map(abs, row))) for x in row] for row in rows.tolist()]),
    "signs": lambda rows: np.array([[-1.0 if x < 0 else 1.0 for x in row] for row in rows.tolist()]),
    "prefix": lambda rows: rows[:, : rows.shape[1] // 4],
}


@pytest.mark.parametrize("by", sorted(NAIVE))
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(8, 13))
@few
def test_the_share_is_that_of_lists_made_naively(words, by, seed, width):
    """Row by row in float64, from numbers compressed one by one; all probed is exact."""
    vectors = np.random.default_rng(seed).standard_normal((40, width)).astype(np.float32)
    before, after = ten_nearest(vectors.astype(np.float64)), ten_nearest(NAIVE[by](vectors.astype(np.float64)))
    estimate = measured(vectors, words, by)
    expected = np.mean([len(a & b) / 10 for a, b in zip(before, after, strict=True)])
    assert (estimate.value, estimate.is_exact) == (pytest.approx(expected, abs=0.006), True)


def test_what_loses_nothing_keeps_all(words):
    """Whole numbers up to 127 are bytes already; rows of signs are signs; a prefix of repeated columns is the row."""
    r = np.random.default_rng(0)
    whole = r.integers(-127, 128, (50, 8)).astype(np.float32)
    whole[:, 0] = 127
    assert measured(whole, words, "int8").value == 1
    assert measured(r.choice([-2.0, 2.0], (50, 16)), words, "signs").value == 1
    assert measured(np.tile(r.standard_normal((50, 3)), 4), words, "prefix").value == 1


@pytest.mark.parametrize("by", ["int8", "signs", "prefix"])
@given(seed=st.integers(0, 2**32 - 1))
@few
def test_lengths_and_the_order_of_rows_change_nothing(words, by, seed):
    """An exact factor for each row, and rows moved with their tokens, keep the share; ties of signs go by row."""
    r = np.random.default_rng(seed)
    vectors = r.standard_normal((40, 8)).astype(np.float32)
    order = np.arange(40) if by == "signs" else r.permutation(40)
    factors = (2.0 ** r.integers(-5, 6, (40, 1))).astype(np.float32)
    tokens = words(40)
    moved = EmbeddingTable.from_arrays((factors * vectors)[order], [tokens[i] for i in order])
    with using(Settings(probes="all")):
        after = measures.kept_neighbors(moved, by=by, rng=np.random.default_rng(0)).value
    assert after == pytest.approx(measured(vectors, words, by).value, abs=0.006)


def test_rows_that_compress_to_zero_keep_nothing(words):
    """A row whose first quarter is zero has no direction left: as a probe it keeps none, and is no neighbor."""
    vectors = np.random.default_rng(0).standard_normal((30, 8))
    vectors[4, :2] = 0
    estimate = measured(vectors, words, "prefix")
    assert estimate.units[estimate.parts[0].labels.index(words(30)[4])] == 0


def test_columns_drawn_at_random_are_those_of_the_generator():
    """A quarter of the columns, the same for one seed, as they are stored."""
    rows = torch.arange(48.0).reshape(4, 12)
    small = kept_neighbors.encoder("random columns", 12, np.random.default_rng(1))(rows)
    drawn = small[0].long().tolist()
    assert (len(drawn), drawn) == (3, sorted(set(drawn)))
    assert torch.equal(small, rows[:, drawn])
    assert torch.equal(kept_neighbors.encoder("random columns", 12, np.random.default_rng(1))(rows), small)


def test_bytes_keep_noise_and_not_rows_with_one_large_number(words, gaussian_table):
    """It holds on noise, and is refuted where one column is so large that bytes lose the others."""
    (check,) = checks_of([importlib.import_module("embcheck.properties.compressibility").compressibility])
    table = gaussian_table(400, 24)
    assert evaluate(check, table, Settings()).verdict is Verdict.HOLDS
    loud = table.vectors.clone()
    loud[:, 3] += 300
    result = evaluate(check, table.with_vectors(loud), Settings())
    assert result.verdict is Verdict.REFUTED
    assert set(result.estimate.details["kept_by_others"]) == {"signs", "prefix", "random columns"}


def test_details_cost_nothing_where_they_are_not_asked_for(words):
    """Without details the other ways are not tried."""
    vectors = np.random.default_rng(0).standard_normal((30, 8))
    assert measured(vectors, words, "int8", details=False).details["kept_by_others"] == {}


def test_what_cannot_be_compressed_is_not_measured(words):
    """Eleven rows have no ten nearest to lose, three columns no quarter, and an unknown way is an error."""
    noise = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises(NotMeasurable, match="11 rows"):
        measured(noise[:11], words, "int8")
    with pytest.raises(NotMeasurable, match="3 columns"):
        measured(noise, words, "prefix")
    assert set(measured(noise, words, "int8").details["kept_by_others"]) == {"signs"}
    with pytest.raises(UsageError, match="choose one of int8, signs"):
        measured(noise, words, "int4")
