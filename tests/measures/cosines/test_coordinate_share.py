import importlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embcheck import measures, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.cosines.coordinate_share import uniform_share
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

few = settings(max_examples=15, deadline=None)


def share(vectors, words):
    table = EmbeddingTable.from_arrays(vectors, words(len(vectors)))
    return measures.coordinate_share(table, rng=np.random.default_rng(0))


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(0, 3))
@few
def test_the_share_is_that_of_all_pairs(words, seed, shift):
    """By every pair of rows in float64, each with itself, coordinate by coordinate."""
    vectors = np.random.default_rng(seed).standard_normal((30, 6)).astype(np.float32)
    vectors[:, 2] += np.float32(shift)
    unit = [row / math.sqrt(sum(x * x for x in row)) for row in vectors.astype(np.float64)]
    terms = [sum(a[k] * b[k] for a in unit for b in unit) / 900 for k in range(6)]
    estimate = share(vectors, words)
    assert estimate.value == pytest.approx(sum(sorted(terms)[-3:]) / sum(terms), abs=1e-5)
    assert estimate.effect["value"] == pytest.approx(sum(terms), abs=1e-6)
    assert estimate.details["without_them"] == pytest.approx(sum(sorted(terms)[:-3]), abs=1e-6)
    assert estimate.details["coordinates"][0]["coordinate"] == int(np.argmax(terms))


def test_closed_forms(words):
    """Equal rows (3, 2, 1, 1, 1) carry 14 of 16 in three coordinates; rows of equal entries carry 3 of d."""
    assert share(np.tile([3.0, -2, 1, 1, 1], (8, 1)), words).value == pytest.approx(14 / 16)
    assert share(np.tile(np.ones(12), (8, 1)), words).value == pytest.approx(3 / 12)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@few
def test_lengths_signs_and_the_order_of_coordinates_change_nothing(words, seed, factor):
    """A factor for each row, columns in another order or negated, and another order of rows keep the share."""
    r = np.random.default_rng(seed)
    vectors = r.standard_normal((40, 8)) + 0.5
    moved = vectors[r.permutation(40)][:, r.permutation(8)] * r.choice([-1, 1], 8) * r.uniform(0.1, 9, (40, 1)) * factor
    assert share(moved, words).value == pytest.approx(share(vectors, words).value, abs=1e-5)


def test_the_null_is_that_of_rotated_tables(words):
    """Drawn in closed form it has the law of the value after uniform rotations of the table."""
    table = EmbeddingTable.from_arrays(np.random.default_rng(1).standard_normal((50, 8)) + 1, words(50))
    rng = np.random.default_rng(2)
    rotated = [
        measures.coordinate_share(nulls.rotated(table, {}, rng)[0], rng=np.random.default_rng(0)).value
        for _ in range(400)
    ]
    assert stats.ks_2samp(rotated, uniform_share(8, 4_000, rng)).pvalue > 0.01
    assert len(uniform_share(8, 7, rng)) == 7


def test_it_holds_where_planted_and_not_otherwise(words):
    """Two loud coordinates hold; rotated, in noise and as a shift of all coordinates alike they do not."""
    (check,) = checks_of([importlib.import_module("embcheck.properties.rogue_dimensions").rogue_dimensions])
    noise = np.random.default_rng(3).standard_normal((400, 48))
    loud = noise.copy()
    loud[:, [7, 30]] += 2
    tables = {"loud": loud, "noise": noise, "even": noise + 0.5}
    tables["rotated"] = loud @ np.linalg.qr(np.random.default_rng(4).standard_normal((48, 48)))[0]
    verdicts = {
        name: evaluate(check, EmbeddingTable.from_arrays(rows, words(400)), Settings()).verdict
        for name, rows in tables.items()
    }
    assert [name for name, verdict in verdicts.items() if verdict is Verdict.HOLDS] == ["loud"]
    assert verdicts["even"] is Verdict.REFUTED


def test_what_has_no_mean_cosine_is_not_measured(words):
    """Rows and their negatives cancel, and three columns are no few of many."""
    noise = np.random.default_rng(0).standard_normal((10, 6))
    with pytest.raises(NotMeasurable, match="cancel"):
        share(np.concatenate([noise, -noise]), words)
    with pytest.raises(NotMeasurable, match="3 columns"):
        share(noise[:, :3], words)
