"""What each compared property keeps for a baseline: labelled units that make up its value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck.baseline.change import between
from embcheck.baseline.tokens import _shared, checkpoint_of
from embcheck.checks.evaluate import evaluate
from embcheck.estimate import Part, Snapshot
from embcheck.measures.pairs.analogy_rank import NEAR, _Ranking
from embcheck.measures.resolve import forms_of
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import RowStatus

WITHOUT = {
    "analogy_rank",
    "background_similarity",
    "duplicate_rows",
    "effective_dimension",
    "intact_rows",
    "rogue_dimensions",
}  # numbers of the whole matrix, or of a single query
JACKKNIFED = {"analogy_gain", "semantic_categories"}

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def snapshots(small, compared):
    """What each check keeps, where it can be measured."""
    settings = Settings(probes=500, seed=1)  # by seed 0 the small table was drawn
    found = {check.label: evaluate(check, small, settings) for check in compared}
    return {k: r.estimate.snapshot() for k, r in found.items() if r.estimate is not None and r.estimate.reason is None}


def test_every_property_keeps_labelled_units(snapshots):
    """Units are kept for all but single numbers, each under a name of its own."""
    bare = {label.partition("[")[0] for label, one in snapshots.items() if not one.parts}
    assert bare == WITHOUT
    assert all(len(set(part.labels)) == len(part.labels) for one in snapshots.values() for part in one.parts)


def test_units_make_up_the_value(snapshots):
    """The mean of the kept units lies close to the value, as a sample's does."""
    for label, one in snapshots.items():
        if not one.parts or one.parts[0].pseudo:
            continue
        mean = sum(part.weight * np.mean(part.values) for part in one.parts)
        error = np.sqrt(sum(part.weight**2 * np.var(part.values) / len(part.values) for part in one.parts))
        assert abs(mean - one.value) <= 4 * error + 1e-6, label


def test_pseudo_values_have_the_standard_error_of_the_value(snapshots):
    """Their spread gives the interval again, so that the spread of their differences gives that of a change."""
    for label, one in snapshots.items():
        if label.partition("[")[0] in JACKKNIFED:
            (part,) = one.parts
            half = stats.t.ppf(0.975, len(part.values) - 1) * np.std(part.values, ddof=1) / np.sqrt(len(part.values))
            assert half == pytest.approx((one.high - one.low) / 2, rel=0.05), label


def test_moved_units_of_an_order_add_up_to_the_change(small, compared):
    """For a whole list, the differences unit by unit have the change of the value as their mean."""
    check = next(c for c in compared if c.label == "number_order[months]")
    other = small.with_vectors(small.vectors + 0.05 * torch.randn(small.vectors.shape, generator=torch.manual_seed(0)))
    old, new = (evaluate(check, t, Settings()).estimate.snapshot() for t in (small, other))
    differences = np.subtract(new.parts[0].values, old.parts[0].values)
    assert new.value != old.value
    assert differences.mean() == pytest.approx(new.value - old.value, abs=1e-12)
    assert between(old, new, 0.95).comparison == "exact"


def snapshot_of(pseudo, beyond=(0.0, 0.0)):
    """An estimate of 25 pseudo-values, whose interval reaches further than Student's by so much below and above."""
    half = stats.t.ppf(0.975, 24) * pseudo.std(ddof=1) / 5
    value, labels = float(pseudo.mean()), tuple(f"w{i}" for i in range(25))
    ends = (value - half - beyond[0], value + half + beyond[1])
    parts = (Part(labels, tuple(pseudo), pseudo=True),)
    return Snapshot(value, *ends, 0.95, is_exact=False, scale="a", unit="pairs", n=25, parts=parts)


def test_a_change_reaches_further_where_its_estimates_do():
    """Each end has what the intervals have beyond Student's, by squared correlation with it: at most as much again."""
    rng = np.random.default_rng(0)
    old, noise = rng.exponential(size=25), 0.05 * rng.standard_normal(25)
    new = 0.4 * old + noise
    plain = between(snapshot_of(old), snapshot_of(new), 0.95)
    half = stats.t.ppf(0.975, 24) * (new - old).std(ddof=1) / 5
    assert (plain.low, plain.high) == pytest.approx((plain.value - half, plain.value + half))
    wide = between(snapshot_of(old, (0.0, 0.2)), snapshot_of(new, (0.0, 0.1)), 0.95)
    squared = [np.corrcoef(pseudo, new - old)[0, 1] ** 2 for pseudo in (old, new)]
    assert wide.low == pytest.approx(plain.low - (0.2 * squared[0] - 0.1 * squared[1]))
    assert wide.high == pytest.approx(plain.high)
    assert wide.tail(0.0, "down") == pytest.approx(plain.tail(0.0, "down"))
    assert wide.tail(wide.low, "up") == pytest.approx(0.025)
    widest = between(snapshot_of(old, (0.0, 9.0)), snapshot_of(new, (0.0, 0.1)), 0.95)
    assert widest.low == pytest.approx(plain.value - 2 * half)


def test_near_ties_count_in_part():
    """The soft rank is the rank where nothing is near, and one half more for each exact tie."""
    words = ["target", "far", "tied", "near", "below"]
    gaps = torch.tensor([0.0, 3 * NEAR, 0.0, -NEAR / 2, -2 * NEAR])
    table = EmbeddingTable.from_arrays(torch.eye(5), words)
    ranking = _Ranking(0.5 + gaps, forms_of(table))
    assert ranking.soft_rank("target") == pytest.approx(1 + 1 + 0.5 + 0.25, abs=1e-4)
    assert ranking.rank("target") == 3
    assert ranking.soft_rank("target", ("far", "tied")) == pytest.approx(1.25, abs=1e-4)


def test_a_broken_row_leaves_its_token_where_it_was(table):
    """A baseline knows the same tokens of a checkpoint in which a row died: none was added, removed or moved."""
    vectors = table.vectors.clone()
    vectors[table.population[7]] = float("nan")
    old, new = checkpoint_of(table, 0), checkpoint_of(table.with_vectors(vectors), 0)
    assert (old.tokens_sha256, old.known_rows) == (new.tokens_sha256, new.known_rows)


def test_rows_that_became_tokens_are_left_out_of_the_shared_ones(table):
    """Reserved rows stay, for others are compared with them; what has become a token since does not."""
    old = checkpoint_of(table, 0)
    taken = int(np.flatnonzero(table.vocabulary.status == RowStatus.UNUSED)[5])
    grown = table.with_vectors(table.vectors)
    object.__setattr__(grown, "ordinary", np.sort(np.append(table.ordinary, taken)))
    shared = _shared(old, grown)
    assert len(shared.vectors) == len(table.vectors) - 1
    assert shared.tokens_sha256 == table.tokens_sha256
