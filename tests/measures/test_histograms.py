"""What measures keep for pictures: compact, and the same as a naive float64 reference finds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embcheck import EmbeddingTable, lexicons, measures
from embcheck.measures import histograms
from embcheck.settings import Settings, using


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(3).standard_normal((400, 12)).astype(np.float32) + 0.2


@pytest.fixture(scope="module")
def table(vectors):
    return EmbeddingTable.from_arrays(vectors, [f"t{i}" for i in range(len(vectors))])


def cosines(vectors):
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


@given(values=hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6)))
def test_no_value_is_lost(values):
    """Every value is in one bin, below or above; at most one in a thousand at either end lies outside."""
    found = histograms.of_values(values)
    assert sum(found["counts"]) + found["below"] + found["above"] == len(values)
    assert max(found["below"], found["above"]) <= 1 + len(values) / 1000
    assert found["low"] < found["high"]


@given(counts=hnp.arrays(np.int64, st.integers(1, 500), elements=st.integers(0, 9)).filter(lambda c: c.any()))
def test_coarse_bins_keep_counts_where_they_were(counts):
    """Merged bins hold the counts of the fine bins that they cover, at most 60 of them."""
    found = histograms.coarse(counts, 0.0, float(len(counts)))
    assert len(found["counts"]) <= histograms.BINS
    assert sum(found["counts"]) == counts.sum()
    width = (found["high"] - found["low"]) / len(found["counts"])
    for place, count in enumerate(found["counts"]):
        first = round(found["low"] + place * width)
        assert count == counts[first : first + round(width)].sum()


def test_cosines_of_probes(table, vectors):
    """The histogram counts every cosine of every probe with another row once, in its bin."""
    with using(Settings(probes=50)):
        probes = table.probes(50)
        found = measures.non_negative_share(table).details["cosine_histogram"]
    naive = cosines(vectors)[probes]
    others = np.delete(naive.ravel(), np.arange(len(probes)) * len(vectors) + probes)
    edges = np.linspace(found["low"], found["high"], len(found["counts"]) + 1)
    assert sum(found["counts"]) == len(others) == 50 * 399
    reference = np.histogram(others, edges)[0]
    assert np.abs(np.cumsum(reference) - np.cumsum(found["counts"])).max() <= 3  # float32 at the edges


def test_lengths(table, vectors):
    """The histogram of lengths is NumPy's."""
    found = measures.constant_length_share(table).details["norm_histogram"]
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    reference = np.histogram(norms, len(found["counts"]), (found["low"], found["high"]))[0]
    assert np.abs(np.cumsum(reference) - np.cumsum(found["counts"])).max() <= 1


def test_scree(table, vectors):
    """Shares of the variance are those of a float64 eigenvalue decomposition; noise's sum to one as they do."""
    found = measures.participation_share(table, rng=np.random.default_rng(0)).details["scree"]
    values = np.linalg.eigvalsh(np.cov(vectors.astype(np.float64).T, bias=True))[::-1]
    assert found["component"] == list(range(1, 13))
    np.testing.assert_allclose(found["share"], values / values.sum(), rtol=1e-3)
    assert sum(found["noise"]) == pytest.approx(1, abs=2e-3)


def test_neighbor_lists(table, vectors):
    """Shares of rows by the number of lists they stand in are those of sorting all cosines."""
    found = measures.neighbor_count_skewness(table, rng=np.random.default_rng(0)).details["in_lists"]
    naive = cosines(vectors) - 3 * np.eye(len(vectors))
    counts = np.bincount(np.argsort(-naive, axis=1)[:, :10].ravel(), minlength=len(vectors))
    for first, stop, share in zip(found["from"], found["to"], found["share"], strict=True):
        assert share == pytest.approx(np.mean((counts >= first) & (counts < stop)), abs=2e-4)
    assert sum(found["noise"]) == pytest.approx(1, abs=1e-2)


def test_points_of_the_median_probe(table, vectors):
    """The scatter's cosines, distances and lengths are those of the probe and tokens that it names."""
    found = measures.metric_agreement(table).details["scatter"]
    a = vectors[int(found["probe"][1:])].astype(np.float64)
    b = vectors[[int(token[1:]) for token in found["tokens"]]].astype(np.float64)
    np.testing.assert_allclose(found["distance"], np.linalg.norm(b - a, axis=1), rtol=1e-3)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(b, axis=1), rtol=1e-3)
    expected = b @ a / np.linalg.norm(a) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(found["cosine"], expected, rtol=1e-3, atol=1e-6)


def test_nearest_forms_and_their_roles():
    """The twenty nearest are in order, sources kept; source and target words are marked as such."""
    (king,) = lexicons.analogies("king")
    words = [king.a, king.b, king.c, king.target, *(f"w{i}" for i in range(50))]
    vectors = np.random.default_rng(1).standard_normal((54, 8))
    vectors[3] = vectors[0] - vectors[1] + vectors[2]
    found = measures.analogy_rank(EmbeddingTable.from_arrays(vectors, words), king).details
    assert found["words"] == words[:4]
    values = [entry["value"] for entry in found["nearest"]]
    assert len(values) == 20
    assert values == sorted(values, reverse=True)
    roles = {entry["token"]: entry["role"] for entry in found["nearest"]}
    assert all(roles[w] == {king.target: "target"}.get(w, "source") for w in words[:4] if w in roles)
    assert {role for word, role in roles.items() if word not in words[:4]} == {None}
    assert sum(found["cosine_histogram"]["counts"]) == 54 or found["cosine_histogram"]["below"] > 0
    json.dumps(found)
