"""Does the gate's interval of a change cover it, does noise pass, and is a change beyond the margin found?"""

import functools

import numpy as np
import pytest
import torch

from embcheck import lexicons, measures
from embcheck.baseline.change import between
from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate
from embcheck.measures.kernels import all_pairs
from embcheck.settings import Settings, using

pytestmark = pytest.mark.slow
REDRAWS, ROWS, MARGIN = 200, 6_000, 0.01


def noisy(table, rows, size, seed=0):
    """The table with noise of so much of their length on some rows."""
    vectors = table.vectors.float().clone()
    added = torch.randn(len(rows), table.width, generator=torch.Generator().manual_seed(seed)) / table.width**0.5
    vectors[rows] += size * added * torch.linalg.vector_norm(vectors[rows], dim=1, keepdim=True)
    return table.with_vectors(vectors)


def words_of(table):
    """The rows of the words of all lists: what lists are measured on."""
    return table.subset(np.array(sorted({row for row in table.rows(lexicons.words()) if row is not None})))


def flipped(table, rows):
    vectors = table.vectors.float().clone()
    vectors[rows] *= -1
    return table.with_vectors(vectors)


def shifted(table):
    """All rows moved along one direction, by a tenth of their root mean square length."""
    vectors = table.vectors.float()
    length = float((vectors**2).sum(1).mean().sqrt())
    return table.with_vectors(vectors + 0.1 * length * vectors.mean(0) / torch.linalg.vector_norm(vectors.mean(0)))


CASES = {
    "noise on all": lambda table: noisy(table, np.arange(len(table.vectors)), 0.05),
    "noise on one": lambda table: noisy(table, np.array([17]), 0.05),
    "noise on 1%": lambda table: noisy(table, np.arange(0, len(table.vectors), 100), 0.5),
    "flipped 5%": lambda table: flipped(table, np.arange(0, len(table.vectors), 20)),
    "shifted": shifted,
}


@pytest.fixture(scope="module")
def shares(real):
    """``shares(case)``: of every row of 6,000, before and after."""
    table = real.subset(np.sort(real.probes(ROWS)))

    @functools.cache
    def of(case):
        tables = (table, CASES[case](table))
        return [all_pairs.all_pairs_counts(t) / (len(t.population) - 1) for t in tables]

    return of


def changes(shares, probes):
    """The change over redrawn probes, each with whether its interval covers the true one."""
    rng, population = np.random.default_rng(1), len(shares[0])
    for _ in range(REDRAWS):
        drawn = rng.choice(population, probes, replace=False)
        about = {"unit": "probes", "labels": [str(i) for i in drawn], "population": population, "bounds": (0.0, 1.0)}
        old, new = (Estimate.from_units(values[drawn], **about).snapshot() for values in shares)
        yield between(old, new, 0.95)


@pytest.mark.parametrize("probes", [200])
@pytest.mark.parametrize("case", CASES)
def test_the_interval_of_a_change_covers_it(shares, case, probes):
    """Redraws cover the change of all rows; noise passes in all but 5%, a change of twice the margin never does."""
    truth = float(shares(case)[1].mean() - shares(case)[0].mean())
    drawn = list(changes(shares(case), probes))
    inside = np.mean([change.low >= -MARGIN and change.high <= MARGIN for change in drawn])
    covered = np.mean([change.low <= truth <= change.high for change in drawn])
    if abs(truth) < 1e-5:  # one row: what it does to itself is hardly ever drawn
        assert np.mean([abs(change.value - truth) < 1e-3 for change in drawn]) == 1
    else:  # 200 probes miss all of 1% of the rows in 13% of redraws
        assert covered >= (0.8 if case == "noise on 1%" else 0.92)
    if abs(truth) < MARGIN / 3:
        assert inside >= 0.95
    if abs(truth) > 2 * MARGIN:
        assert inside == 0


@pytest.mark.parametrize("axis", lexicons.axes(), ids=str)
def test_noise_changes_few_words_of_an_axis(real, axis):
    """Noise of 5% of each word's length moves an axis by less than its margin, in each of 40 draws."""
    real = words_of(real)
    rows = np.array([row for pair in axis.poles.pairs for row in real.rows(list(pair)) if row is not None])
    with using(Settings(draws=1, details=False)):
        try:
            before = measures.axis_accuracy(real, axis, rng=np.random.default_rng(0)).value
        except NotMeasurable:
            pytest.skip("too few words")
        moved = [
            measures.axis_accuracy(noisy(real, rows, 0.05, seed), axis, rng=np.random.default_rng(0)).value - before
            for seed in range(40)
        ]
    assert max(map(abs, moved)) < 0.1


@pytest.mark.parametrize("sequence", lexicons.sequences(), ids=str)
def test_noise_moves_an_order_by_less_than_its_margin(real, sequence, monkeypatch):
    """Noise of 5% of each word's length lowers the agreement with an order by less than its margin, in 40 draws."""
    monkeypatch.setattr("embcheck.measures.words.order_agreement.EXACT_UP_TO", 0)
    real = words_of(real)
    rows = np.array([row for row in real.rows(list(sequence.words)) if row is not None])
    with using(Settings(draws=1, details=False)):
        before = measures.order_agreement(real, sequence, rng=np.random.default_rng(0)).value
        moved = [
            measures.order_agreement(noisy(real, rows, 0.05, seed), sequence, rng=np.random.default_rng(0)).value
            - before
            for seed in range(40)
        ]
    assert min(moved) > -0.15
