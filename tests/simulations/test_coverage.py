"""Do 95% intervals cover in 95% of redraws? Limits are 92-98%, wide enough for the noise of 2,000 redraws."""

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import lexicons
from embcheck.estimate import Estimate
from embcheck.measures.kernels import all_pairs
from embcheck.measures.pairs import analogy_gain, offset_consistency
from embcheck.measures.resolve import forms_of
from embcheck.stats.betting import betting_interval
from embcheck.stats.intervals import jackknife_interval, square_jackknife_interval

pytestmark = pytest.mark.slow
REDRAWS = 2_000
SKEWED = 3.0


@pytest.fixture(scope="module")
def shares(real):
    """The share of every row of a real population: what probes are drawn from."""
    return all_pairs.all_pairs_counts(real) / (len(real.population) - 1)


@pytest.mark.parametrize("probes", [50, 200, 1_000])
def test_share_intervals_cover_the_share_of_a_real_matrix(shares, probes):
    """Redrawing probes from a real matrix's known shares, the interval covers the share over all pairs."""
    rng = np.random.default_rng(1)
    target = shares.mean()
    covered = 0
    for _ in range(REDRAWS):
        drawn = rng.choice(shares, probes, replace=False)
        found = Estimate.from_units(drawn, unit="probe tokens", population=len(shares), bounds=(0.0, 1.0))
        covered += found.low <= target <= found.high
    limit = 1.0 if abs(stats.skew(shares)) > SKEWED else 0.98
    assert 0.92 <= covered / REDRAWS <= limit


@pytest.fixture(scope="module")
def rare_outliers():
    """Shares such as a model with 2% of odd rows has: nearly all close to 0.97, a few below 0.3; skewness -7."""
    rng = np.random.default_rng(0)
    shares = np.clip(rng.normal(0.97, 0.005, 30_000), 0, 1)
    shares[:600] = rng.uniform(0, 0.3, 600)
    assert stats.skew(shares) < -SKEWED
    return shares


@pytest.mark.parametrize("probes", [50, 200])
def test_betting_intervals_cover_very_skewed_shares(rare_outliers, probes):
    """Where shares are so skewed that Student's t fails, betting intervals cover at least 92% of the time."""
    rng = np.random.default_rng(1)
    target = rare_outliers.mean()
    covered = 0
    for _ in range(300):
        low, high = betting_interval(rng.choice(rare_outliers, probes, replace=False), 0.95, len(rare_outliers))
        covered += low <= target <= high
    assert covered / 300 >= 0.92


@pytest.mark.parametrize("probes", [50, 200])
def test_estimates_cover_very_skewed_shares(rare_outliers, probes):
    """Told how skewed the population is, an estimate covers it 92% of the time even where samples miss the outliers."""
    rng = np.random.default_rng(1)
    target, skewness = rare_outliers.mean(), float(stats.skew(rare_outliers))
    about = {"unit": "probe tokens", "population": len(rare_outliers), "bounds": (0.0, 1.0), "skewness": skewness}
    covered = 0
    for _ in range(300):
        found = Estimate.from_units(rng.choice(rare_outliers, probes, replace=False), **about)
        covered += found.low <= target <= found.high
    assert covered / 300 >= 0.92


def around(steps, rng, spread=0.3):
    """Offsets with fresh noise of 0.3 times their own length."""
    noise = torch.from_numpy(rng.standard_normal(tuple(steps.shape)))
    return offset_consistency._unit(
        steps + noise * torch.linalg.vector_norm(steps, dim=1, keepdim=True) * spread / steps.shape[1] ** 0.5
    )


@pytest.mark.parametrize("pairs", [25, 60])
def test_plural_intervals_cover_when_pairs_are_redrawn(real, pairs):
    """Redrawing pairs from around a real matrix's pairs, the jackknife interval covers the consistency of them all.

    A sample of 25 from about 146 pairs without replacement would vary less than the jackknife, which knows no finite
    population, allows for; drawn with replacement it would hold pairs twice. So the population is a smooth one: a real
    pair's offset, drawn at random, plus fresh noise. Its consistency is the squared length of its mean unit offset.
    """
    (relation,) = lexicons.relations("plural")
    found = offset_consistency._resolve(real, relation, "single")
    steps = (found.second - found.first).double()
    rng = np.random.default_rng(2)
    center = torch.stack([around(steps, rng).mean(0) for _ in range(300)]).mean(0)
    target = float(center @ center)
    covered = 0
    for _ in range(REDRAWS):
        drawn = around(steps[rng.integers(0, len(steps), pairs)], rng)
        interval, _ = square_jackknife_interval(*offset_consistency._consistency(drawn), 0.95)
        covered += interval.low <= target <= interval.high
    assert 0.92 <= covered / REDRAWS <= 0.98


def test_gain_intervals_cover_when_pairs_are_redrawn(monkeypatch, real):
    """Redrawing 20 of a real matrix's past-tense pairs, the jackknife interval covers the gain of all of them.

    Drawn without replacement from about 119 pairs, samples vary less than pairs from an unlimited population, by the
    finite-population correction: what the interval is wide is corrected by it here.
    """
    monkeypatch.setattr(analogy_gain, "COST", 1e13)
    (relation,) = lexicons.relations("past_tense")
    forms = forms_of(real)
    words = analogy_gain._resolve(real, relation, forms)
    reciprocal = {name: 1 / ranks for name, ranks in analogy_gain.ranks(real, words.rows, words.forms, forms).items()}
    controls = [name for name in reciprocal if name != "3cosadd"]

    def gain(cells, statistic):
        return statistic(cells["3cosadd"]) - np.max([statistic(cells[name]) for name in controls], axis=0)

    target = gain(reciprocal, analogy_gain._mean)
    rng, finite = np.random.default_rng(3), (1 - 20 / len(words.pairs)) ** 0.5
    covered = 0
    for _ in range(REDRAWS):
        chosen = rng.choice(len(words.pairs), 20, replace=False)
        cells = {name: found[np.ix_(chosen, chosen)] for name, found in reciprocal.items()}
        left_out = gain(cells, analogy_gain._leave_one_out)
        interval, _ = jackknife_interval(gain(cells, analogy_gain._mean), left_out, 0.95)
        low, high = interval.low, interval.high
        covered += abs((low + high) / 2 - target) <= finite * (high - low) / 2
    assert 0.92 <= covered / REDRAWS <= 0.98
