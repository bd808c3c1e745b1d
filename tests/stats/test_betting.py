import numpy as np
import pytest

from embcheck import above
from embcheck.claims import decides, within
from embcheck.settings import Settings, using, using_rule
from embcheck.stats import betting
from embcheck.stats.betting import ConfidenceSequence, draw

POPULATIONS = {
    "narrow": lambda rng: np.clip(rng.normal(0.6, 0.05, 1_500), 0, 1),
    "skewed": lambda rng: np.where(rng.random(1_500) < 0.03, 0.02, 0.55),
    "zeros and ones": lambda rng: (rng.random(1_500) < 0.3).astype(float),
}


def ever_rejected(samples, mean, level):
    """In how many samples the true mean is rejected at any time: no rule for stopping can do worse.

    All samples are gone through at once: the sequence's one candidate in each is the true mean.
    """
    sequence = ConfidenceSequence(len(samples[0]), level)
    sequence._means, sequence._alive = np.full(len(samples), mean), np.ones(len(samples), dtype=bool)
    sequence._stakes = betting._Stakes(sequence._means, len(samples[0]))
    for values in samples.T[:1_000]:
        sequence._take(values)
    return int((~sequence._alive).sum())


@pytest.mark.parametrize("kind", POPULATIONS)
def test_the_true_mean_is_hardly_ever_rejected(kind):
    """Looking after every single draw, up to 1,000 of 1,500, the true mean is rejected in at most 5% of 400 samples."""
    rng = np.random.default_rng(3)
    values = POPULATIONS[kind](rng)
    samples = rng.permuted(np.broadcast_to(values, (400, 1_500)), axis=1)
    assert (
        ever_rejected(samples, values.mean(), 0.95) <= 32
    )  # 20 expected at most; 32 or more have a chance of 0.6% then


@pytest.mark.slow
def test_stopping_as_soon_as_the_claim_is_decided_keeps_the_guarantee(monkeypatch):
    """Claims next to the true mean, decided when the interval first allows it, are decided wrongly in at most 5%."""
    monkeypatch.setattr(betting, "_GRID", 1_000)
    monkeypatch.setattr(betting, "LEAST", 25)
    monkeypatch.setattr(betting, "MOST", 400)
    rng = np.random.default_rng(4)
    wrong = 0
    for number in range(60):
        values = POPULATIONS["narrow"](rng)
        claim = above(values.mean() + (0.0005 if number % 2 else -0.0005))
        order = rng.permutation(len(values))
        with using_rule(lambda low, high, claim=claim: decides([claim], low, high)):
            _, low, high = draw(order, lambda rows, values=values: values[rows])
        wrong += not low <= values.mean() <= high
    assert wrong <= 8


def test_an_interval_is_inside_the_certain_range_and_shrinks(rng):
    """Intervals only shrink; they hold what the seen part leaves possible, and at the end the mean itself."""
    values = rng.random(600)
    sequence = ConfidenceSequence(600, 0.95)
    before = (0.0, 1.0)
    for part in np.split(values, 6):
        low, high = sequence.extend(part)
        assert before[0] <= low <= values.mean() + 1e-12
        assert values.mean() - 1e-12 <= high <= before[1]
        before = (low, high)
    assert high - low < 0.01


def test_clear_cases_stop_early_and_close_ones_go_on(rng):
    """A mean far from the bound takes 200 units; one near to it as many as are allowed, and is left undecided."""
    values = np.clip(rng.normal(0.7, 0.05, 20_000), 0, 1)
    order = rng.permutation(20_000)
    for bound, count in ((0.51, betting.LEAST), (values.mean(), betting.MOST)):
        with using_rule(lambda low, high, bound=bound: decides([above(bound)], low, high)):
            found, low, high = draw(order, lambda rows: values[rows])
        assert len(found) == count
        assert found.tolist() == values[order[:count]].tolist()
        assert (low > bound) == (count == betting.LEAST)
        assert low <= found.mean() <= high


def test_a_small_population_is_measured_whole_where_nothing_is_decided(rng):
    """Without claims in force nothing is decided; a population of 300 is then measured to the last."""
    values = rng.random(300)
    found, low, high = draw(np.arange(300), lambda rows: values[rows])
    assert len(found) == 300
    assert low <= values.mean() <= high


def test_all_claims_on_the_interval_must_be_decided():
    """One undecided claim is enough to go on; those that don't look at the interval are not waited for."""
    assert decides([above(0.5), within(0, 1)], 0.6, 0.7)
    assert not decides([above(0.65), within(0, 1)], 0.6, 0.7)
    assert decides([], 0, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_auto_probes_are_a_prefix_of_any_others(gaussian_table, rng):
    """With auto, the share is that of the first probes in hash order; its method says how many there were."""
    from embcheck import measures
    from embcheck.estimate import Estimate

    table = gaussian_table(2_000, 8, shift=1.0)
    with using(Settings(probes="auto")), using_rule(lambda low, _: low > 0.6):
        found = measures.non_negative_share(table)
    with using(Settings(probes=200)):
        fixed = measures.non_negative_share(table)
    assert isinstance(found, Estimate)
    assert (found.n, found.value) == (200, fixed.value)
    assert found.method == "betting confidence sequence, without replacement, stopped after 200"
    assert 0.6 < found.low < found.value < found.high


def test_other_measures_keep_their_default_with_auto():
    """Elsewhere auto probes as many rows as the default."""
    assert [Settings(probes="auto").probe_count(n) for n in (500, 50_000)] == [500, 1_000]
    assert [Settings().probe_count(n) for n in (500, 50_000)] == [500, 1_000]
