"""Do intervals cover where only part of the units carry the structure, where areas are near 1, where shares are skewed?

Each redraw is a table of its own with the same planted structure; 200 of them leave a standard error of 1.5 points, so
the limit is 90%: a true 92% stays above it in 85 of 100 runs, a true 95% nearly always, a true 88% in 19.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from embcheck import lexicons, measures
from embcheck.baseline.change import between
from embcheck.measures.cosines import negative_share_difference
from embcheck.measures.pairs import offset_consistency, related_pair_auc
from embcheck.measures.words import neighbor_category_share
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

pytestmark = pytest.mark.slow
REDRAWS, LEAST = 200, 0.9


@pytest.fixture(autouse=True)
def without_details(monkeypatch):
    """Neither details nor nulls: only the interval is looked at."""
    monkeypatch.setattr(offset_consistency, "_details", lambda *_: {})
    monkeypatch.setattr(offset_consistency, "_frequency_matched", lambda *_: np.zeros(1))
    monkeypatch.setattr(offset_consistency, "_pairing_consistency", lambda *_: 0.5)
    with using(Settings(draws=1, details=False)):
        yield


def pairs_of(count):
    """A relation of made-up words, and their tokens, firsts before seconds."""
    sides = [[f"{side}{i:03d}" for i in range(count)] for side in "ab"]
    return lexicons.relation("made up", list(zip(*sides, strict=True))), sides[0] + sides[1]


def offsets(rng, pairs, width, carriers, strengths):
    """For each strength a table of pairs, noise the same in all; of a share the offsets go along the first axis."""
    first, noise = rng.standard_normal((2, pairs, width))
    along = (rng.random(pairs) < carriers)[:, None] * np.sqrt(width) * np.eye(width)[0]
    return [np.concatenate([first, first + noise + strength * along]) for strength in strengths]


def measured(vectors, relation, tokens):
    table = EmbeddingTable.from_arrays(vectors.astype(np.float32), tokens)
    return measures.offset_consistency(table, relation, rng=np.random.default_rng(0))


def covered(intervals, target):
    """Share of (value, low, high) whose ends hold the target; the mean value where it is none."""
    values, low, high = np.array(intervals).T
    truth = values.mean() if target is None else target
    return float(((low <= truth) & (truth <= high)).mean())


def squared_mean(width, carriers, strength):
    """Squared length of the mean unit offset, whose estimate is unbiased: by 100,000 draws."""
    noise = np.random.default_rng(9).standard_normal((100_000, width))
    noise[:, 0] += strength * np.sqrt(width)
    along = carriers * (noise[:, 0] / np.linalg.norm(noise, axis=1)).mean()
    return along**2


@pytest.mark.parametrize(("carriers", "pairs"), [(0.2, 20), (0.2, 25), (0.2, 100), (0.3, 20), (0.3, 25), (1.0, 25)])
def test_consistency_where_some_pairs_carry_the_direction(carriers, pairs):
    """Where 20 or 30% of the pairs have the common direction, the interval covers; it did in 79 to 91% of redraws."""
    rng, (relation, tokens) = np.random.default_rng([pairs, 1]), pairs_of(pairs)
    found = []
    for _ in range(REDRAWS):
        estimate = measured(offsets(rng, pairs, 100, carriers, [3.0])[0], relation, tokens)
        found.append((estimate.value, estimate.low, estimate.high))
    assert covered(found, squared_mean(100, carriers, 3.0)) >= LEAST


@pytest.mark.parametrize("pairs", [20, 25, 146])
@pytest.mark.parametrize("strengths", [(2.0, 1.0), (1.0, 2.0)], ids=["less", "more"])
def test_paired_changes_where_some_pairs_carry_the_direction(pairs, strengths):
    """Where 30% of the pairs carry the direction and it weakens or grows, the paired change covers; it did in 86%."""
    rng, (relation, tokens) = np.random.default_rng([pairs, 2]), pairs_of(pairs)
    found = []
    for _ in range(REDRAWS):
        old, new = (measured(v, relation, tokens).snapshot() for v in offsets(rng, pairs, 100, 0.3, strengths))
        change = between(old, new, 0.95)
        assert change.comparison == "paired"
        found.append((change.value, change.low, change.high))
    before, after = (squared_mean(100, 0.3, strength) for strength in strengths)
    assert covered(found, after - before) >= LEAST


def areas(rng, pairs, spread):
    """Related pairs in 20 dimensions whose likeness varies from pair to pair."""
    first, noise = rng.standard_normal((2, pairs, 20))
    return np.concatenate([first, noise + np.exp(rng.normal(0.5, spread, (pairs, 1))) * first])


@pytest.mark.parametrize("pairs", [58, 83])
def test_areas_near_one(monkeypatch, pairs):
    """An area of 0.997, of which a few weak pairs decide, is covered; it was in 81 to 88% of redraws."""
    rng, (relation, tokens) = np.random.default_rng([pairs, 3]), pairs_of(pairs)
    monkeypatch.setattr(related_pair_auc, "area", lambda _: 0.5)
    found = []
    for _ in range(REDRAWS):
        table = EmbeddingTable.from_arrays(areas(rng, pairs, 0.5).astype(np.float32), tokens)
        estimate = measures.related_pair_auc(table, relation, rng=rng)
        found.append((estimate.value, estimate.low, estimate.high))
    assert covered(found, None) >= LEAST


@pytest.mark.parametrize("words", [20, 25])
def test_neighbors_where_half_the_words_are_strong(monkeypatch, words):
    """Where half the words of a category lie together, the interval covers; it did in 88% of redraws of 20."""
    names = [f"a{i:03d}" for i in range(4 * words)]
    groups = (lexicons.Category("in", tuple(names[:words])), lexicons.Category("out", tuple(names[words:])))
    monkeypatch.setattr(neighbor_category_share, "_fewest", lambda *_: [])
    rng, found = np.random.default_rng([words, 4]), []
    for _ in range(2 * REDRAWS):
        vectors = rng.standard_normal((len(names), 50)).astype(np.float32)
        vectors[:words, 0] += (rng.random(words) < 0.5) * 1.2 * 50**0.5
        table = EmbeddingTable.from_arrays(vectors, names)
        estimate = measures.neighbor_category_share(table, lexicons.Categories("made up", "", groups), "in", rng=rng)
        found.append((estimate.value, estimate.low, estimate.high))
    assert covered(found, None) >= LEAST


def test_a_class_difference_where_comparators_are_very_skewed(monkeypatch):
    """With 2 odd comparators in 1,000, a skewness above 20, the interval covers; Student's did in 81 to 87%."""
    rng = np.random.default_rng(5)
    tokens = [*(chr(c) for c in range(33, 63)), *(chr(0x4E00 + i) for i in range(10_000))]
    shares = np.clip(rng.normal(0.03, 0.002, len(tokens)), 0, 1)
    shares[30:] = np.where(rng.random(10_000) < 0.002, rng.uniform(0.5, 0.9, 10_000), shares[30:])
    table = EmbeddingTable.from_arrays(rng.standard_normal((len(tokens), 2)).astype(np.float32), tokens)
    monkeypatch.setattr(negative_share_difference, "_negative_shares", lambda *_: shares)
    monkeypatch.setattr(negative_share_difference, "negative_runs", lambda *_: [])
    monkeypatch.setattr(negative_share_difference, "_permute_labels", lambda *_: np.zeros(1))
    counts = partial(np.multiply, shares)
    monkeypatch.setattr(
        negative_share_difference.probe_cosines, "row_counts", lambda _, anchors: counts(len(anchors)).round()
    )
    found = []
    for seed in range(200):
        with using(Settings(seed=seed, probes=1_000, draws=1)):
            estimate = measures.negative_share_difference(table, "ascii", rng=rng)
        found.append((estimate.value, estimate.low, estimate.high))
    assert covered(found, shares[:30].mean() - shares[30:].mean()) >= LEAST
