import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embcheck.stats import betting, intervals

T_975 = {4: 2.7764451052, 9: 2.2621571628}  # from tables of Student's t

unit_values = st.lists(st.floats(0, 1), min_size=2, max_size=30).map(np.array)


def ends(interval):
    """Both ends of an interval."""
    return interval.low, interval.high


few = settings(max_examples=40, deadline=None, derandomize=True)


def test_t_interval_is_the_formula():
    """Mean plus and minus t times s over root n."""
    x = np.array([1.0, 2, 3, 4, 10])
    half = T_975[4] * math.sqrt(((9 + 4 + 1 + 0 + 36) / 4) / 5)
    assert ends(intervals.t_interval(x, 0.95)) == pytest.approx((4 - half, 4 + half))


@pytest.mark.parametrize("population", [5, 6, 10, 1_000_000])
def test_the_correction_shrinks_with_the_unseen_part(population):
    """Without replacement the half-width is multiplied by the root of 1 - n/N; all seen leaves no width."""
    x = np.array([1.0, 2, 3, 4, 10])
    low, high = ends(intervals.t_interval(x, 0.95, population))
    free_low, free_high = ends(intervals.t_interval(x, 0.95))
    assert high - low == pytest.approx((free_high - free_low) * math.sqrt(1 - 5 / population))


def test_a_jackknife_of_means_is_the_t_interval():
    """For a mean, pseudo-values are the values themselves, and the jackknife interval is Student's."""
    x = np.array([1.0, 2, 3, 4, 10, -3, 0, 7, 8, 8])
    left_out = (x.sum() - x) / 9
    interval, pseudo = intervals.jackknife_interval(x.mean(), left_out, 0.95)
    np.testing.assert_allclose(pseudo, x)
    assert ends(interval) == pytest.approx(ends(intervals.t_interval(x, 0.95)))
    assert interval.high - x.mean() == pytest.approx(T_975[9] * x.std(ddof=1) / math.sqrt(10))


def test_little_skewed_values_get_student_t():
    """Units of moderate skewness get the t interval, bounded or not, and the method says what correction it has."""
    x = np.random.default_rng(0).uniform(0, 1, 30)
    assert intervals.mean_interval(x, 0.95, bounds=(0, 1)) == intervals.t_interval(x, 0.95)
    assert intervals.t_interval(x, 0.95).text == "Student t"
    assert intervals.mean_interval(x, 0.95, 90, (0, 1)) == intervals.t_interval(x, 0.95, 90)
    assert intervals.t_interval(x, 0.95, 90).text == "Student t, finite-population correction"


@pytest.mark.parametrize("flip", [False, True])
def test_very_skewed_bounded_values_get_the_betting_interval(flip):
    """Beyond a skewness of 3, to either side, bounded units get the betting interval; unbounded ones keep t."""
    x = np.r_[np.full(48, 0.98) + np.linspace(0, 0.01, 48), 0.0, 0.05]
    x = 1 - x if flip else x
    assert abs(stats.skew(x)) > 3
    interval = intervals.mean_interval(x, 0.95, 500, (0, 1))
    assert ends(interval) == betting.betting_interval(x, 0.95, 500)
    assert (interval.method, interval.text) == (intervals.Method.BETTING, "betting, without replacement")
    assert intervals.mean_interval(x, 0.95).method is intervals.Method.STUDENT


def test_equal_bounded_values_have_a_width():
    """Ten equal values of bounded units do not prove that all are equal."""
    interval = intervals.mean_interval(np.full(10, 0.7), 0.95, None, (0, 1))
    assert interval.text == "betting"
    assert interval.low < 0.7 < interval.high


def test_equal_unbounded_values_have_no_interval():
    """Without bounds and without spread there is no interval to give, and the method says so."""
    interval = intervals.mean_interval(np.full(10, 0.7), 0.95)
    assert all(map(math.isnan, ends(interval)))
    assert "all values are equal" in interval.text


@given(x=unit_values, level=st.floats(0.6, 0.99))
@few
def test_betting_stays_in_range_and_around_its_centre(x, level):
    """A betting interval lies in [0, 1], is ordered, and is not empty."""
    low, high = betting.betting_interval(x, level)
    assert 0 <= low < high <= 1


@given(x=unit_values, more=st.integers(1, 200))
@few
def test_betting_without_replacement_keeps_to_what_is_possible(x, more):
    """Without replacement the interval holds only means that the unseen part leaves possible."""
    population = len(x) + more
    low, high = betting.betting_interval(x, 0.95, population)
    assert x.sum() / population - 1e-9 <= low < high <= (x.sum() + more) / population + 1e-9


@given(x=unit_values)
@few
def test_betting_is_symmetric(x):
    """Reflecting the values about one half reflects the interval, to the width of its grid."""
    low, high = betting.betting_interval(x, 0.95)
    mirrored = betting.betting_interval(1 - x, 0.95)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=2e-5)


@given(x=unit_values, low=st.floats(-100, 100), width=st.floats(0.1, 100))
@few
def test_betting_follows_its_bounds(x, low, width):
    """Values scaled into other bounds have the interval scaled likewise."""
    plain = np.array(betting.betting_interval(x, 0.95, 100))
    found = betting.betting_interval(low + width * x, 0.95, 100, (low, low + width))
    np.testing.assert_allclose(found, low + width * plain, atol=1e-4 * width)


def test_betting_contains_the_mean_and_shrinks():
    """The interval surrounds the sample mean and narrows as the sample grows and as confidence falls."""
    rng = np.random.default_rng(0)
    x = rng.beta(5, 1, 800)
    widths = []
    for n in (20, 80, 320, 800):
        low, high = betting.betting_interval(x[:n], 0.95)
        assert low < x[:n].mean() < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 4
    low, high = betting.betting_interval(x, 0.8)
    assert high - low < widths[-1]


def test_betting_closes_in_on_a_population_nearly_all_seen():
    """With 999 of 1,000 units seen, nothing but the last unit is in doubt."""
    x = np.random.default_rng(0).beta(8, 1, 1000)
    low, high = betting.betting_interval(x[:999], 0.95, 1000)
    assert high - low <= 1 / 1000 + 1e-9
    assert low <= x.mean() <= high


def test_log_capital_is_the_product_of_bets():
    """The hedged capital of a mean equals that of two gamblers who bet unit by unit."""
    x = np.array([0.2, 0.9, 0.4, 1.0, 0.0, 0.7])
    n, alpha, population, mean = len(x), 0.05, 20, 0.45
    up = down = 1.0
    for t in range(n):
        past = x[:t]
        center = [(0.5 + past[: s + 1].sum()) / (s + 2) for s in range(t)]
        variance = (0.25 + sum((past[s] - center[s]) ** 2 for s in range(t))) / (t + 1)
        stake = math.sqrt(2 * math.log(2 / alpha) / (n * variance))
        left = (population * mean - past.sum()) / (population - t)
        up *= 1 + min(stake, 0.5 / left) * (x[t] - left)
        down *= 1 - min(stake, 0.5 / (1 - left)) * (x[t] - left)
    found = betting._log_capital(x, np.array([mean]), alpha, population)
    assert found[0] == pytest.approx(math.log(max(up, down) / 2))


@pytest.mark.parametrize("population", [None, 60])
def test_betting_capital_is_a_fair_game(population):
    """At the true mean neither gambler's capital grows on average, so it exceeds 1/alpha at most alpha of the time."""
    rng = np.random.default_rng(1)
    units = rng.beta(0.3, 0.1, 60)
    wins = 0
    for _ in range(2_000):
        x = rng.choice(units, 30, replace=population is None)
        wins += betting._log_capital(x, np.array([units.mean()]), 0.1, population)[0] >= math.log(1 / 0.1)
    assert wins / 2_000 <= 0.1


def test_a_bounded_jackknife_stays_inside_its_bounds():
    """The interval is the jackknife's, cut at the bounds."""
    x = np.array([1.0, 1, 1, 1, 0.2])
    left_out = (x.sum() - x) / 4
    free, pseudo = intervals.jackknife_interval(x.mean(), left_out, 0.95)
    bounded, same = intervals.jackknife_interval(x.mean(), left_out, 0.95, (0.0, 1.0))
    assert free.high > 1
    assert ends(bounded) == (free.low, 1.0)
    np.testing.assert_allclose(same, pseudo)


def wilson(share, n, t):
    """The two shares that lie t of their own standard errors from the one seen: roots of a quadratic."""
    return sorted(np.roots([1 + t**2 / n, -(2 * share + t**2 / n), share**2]).real)


@pytest.mark.parametrize("chance", [0.0, 0.2])
@pytest.mark.parametrize(
    "x",
    [
        [0.9, 0.1, 1.0, 0.6, 0.8, 0.9, 0.2, 1.0],  # as many answers as the jackknife's variance is worth
        [0.81, 0.8, 0.79, 0.8, 0.8, 0.8, 0.8, 0.8],  # little spread: three answers a unit
        [1.0] * 8,
        [0.0] * 8,
    ],
)
def test_a_share_has_wilsons_interval_of_its_answers(x, chance):
    """Its ends solve Wilson's equation for the answers that the jackknife's variance is worth, at most three a unit."""
    x = np.array(x)
    left_out, share, variance = (x.sum() - x) / 7, x.mean(), x.var(ddof=1) / 8
    worth = min(share * (1 - share) / variance, 24) if variance > 0 else 24
    interval, pseudo = intervals.share_jackknife_interval(
        share - chance, left_out - chance, 0.95, answers=3, chance=chance
    )
    low, high = wilson(share, worth, stats.t.ppf(0.975, 7))
    assert ends(interval) == pytest.approx((low - chance, high - chance), abs=1e-9)
    assert interval.high - interval.low > 0.05
    assert interval.text == "Wilson's score by jackknife"
    np.testing.assert_allclose(pseudo, x - chance, atol=1e-12)


def test_a_share_counts_for_three_quarters_of_its_units_at_least():
    """Where the jackknife's variance is larger than that of so many yes-or-no answers, those decide."""
    left_out = np.array([0.2, 0.9, 0.9, 0.9, 0.9, 0.9])
    interval, _ = intervals.share_jackknife_interval(0.8, left_out, 0.95, answers=1)
    assert ends(interval) == pytest.approx(wilson(0.8, 4.5, stats.t.ppf(0.975, 5)), abs=1e-9)


@pytest.mark.parametrize(("carriers", "wilsons"), [(2, True), (8, True), (20, False)])
def test_a_square_has_wilsons_upper_end_of_the_root(carriers, wilsons):
    """Of 20 unit vectors some are alike, others at right angles: the lower end is t's, the upper one Wilson's."""
    units = np.eye(21)[:20]
    units[:carriers] = 0.6 * units[:carriers] + 0.8 * np.eye(21)[20]

    def mean_cosine(rows):
        cosines = rows @ rows.T
        return cosines[~np.eye(len(rows), dtype=bool)].mean()

    value, left_out = mean_cosine(units), np.array([mean_cosine(np.delete(units, i, 0)) for i in range(20)])
    plain, _ = intervals.jackknife_interval(value, left_out, 0.95)
    interval, pseudo = intervals.square_jackknife_interval(value, left_out, 0.95)
    root = math.sqrt(max(value, 1e-12))
    worth = root * (1 - root) / max(pseudo.var(ddof=1) / 20 / (4 * root**2), 1e-300)
    _, high = wilson(root, max(worth, 15.0), stats.t.ppf(0.975, 19))
    assert interval.low == plain.low
    assert interval.high == pytest.approx(max(plain.high, high**2), abs=1e-9)
    assert (interval.high > plain.high + 0.01) == wilsons
    assert interval.text == "jackknife-t, upper end Wilson's of the root,"


def test_a_stratified_jackknife_of_means_has_the_variance_of_a_stratified_mean():
    """For a sum of stratum means the variance is the sum of s^2 / n over strata, with Welch's degrees of freedom."""
    parts = [np.array([1.0, 2, 4, 9]), np.array([10.0, 11, 15]), np.array([0.0, 5, 5, 6, 9])]
    strata = np.repeat([0, 1, 2], [4, 3, 5])
    value = sum(x.mean() for x in parts)
    left_out = np.concatenate([value - x.mean() + (x.sum() - x) / (len(x) - 1) for x in parts])
    variances = [x.var(ddof=1) / len(x) for x in parts]
    df = sum(variances) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(variances, parts, strict=True))
    half = stats.t.ppf(0.975, df) * math.sqrt(sum(variances))
    interval, pseudo = intervals.stratified_jackknife_interval(value, left_out, 0.95, strata)
    assert ends(interval) == pytest.approx((value - half, value + half))
    assert pseudo.mean() == pytest.approx(value)
    assert pseudo.std(ddof=1) / math.sqrt(12) == pytest.approx(math.sqrt(sum(variances)))


def test_what_a_stratified_jackknife_counts_twice_is_taken_away():
    """The interval shrinks by the root of the variance's loss, half of it at most, and so do the pseudo-values."""
    rng = np.random.default_rng(3)
    x, strata = rng.standard_normal(20), np.repeat([0, 1], 10)
    left_out = np.array([np.delete(x, i).mean() for i in range(20)])
    interval, pseudo = intervals.stratified_jackknife_interval(0.0, left_out, 0.95, strata)
    variance = pseudo.var(ddof=1) / 20
    for excess, kept in ((0.1 * variance, 0.9), (0.9 * variance, 0.5), (-variance, 2.0)):
        less, scaled = intervals.stratified_jackknife_interval(0.0, left_out, 0.95, strata, excess=excess)
        assert ends(less) == pytest.approx((interval.low * kept**0.5, interval.high * kept**0.5))
        assert scaled.var(ddof=1) / 20 == pytest.approx(kept * variance)


@pytest.mark.parametrize(("share", "variance"), [(0.8, 0.004), (0.5, 0.01), (0.97, 0.0004)])
def test_a_score_interval_solves_wilsons_equation(share, variance):
    """Each end is as many of its own standard errors away as Student's quantile says."""
    low, high = ends(intervals.score_interval(share, variance, 1_000, 30, 0.95))
    n = share * (1 - share) / variance
    for end in (low, high):
        assert abs(share - end) == pytest.approx(stats.t.ppf(0.975, 30) * np.sqrt(end * (1 - end) / n))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_score_interval_has_a_width_where_nothing_varies(share):
    """It is that of as many units as there can be, inside 0 and 1."""
    low, high = ends(intervals.score_interval(share, 0.0, 40, 19, 0.95))
    assert 0 <= low <= share <= high <= 1
    assert 0.05 < high - low < 0.4
    assert (low, high) == ends(intervals.score_interval(share, 1e-30, 40, 19, 0.95))


def test_one_stratum_is_the_plain_jackknife():
    """With one stratum the interval is the delete-one jackknife's around the value."""
    x = np.array([1.0, 2, 3, 4, 10, -3, 0, 7, 8, 8])
    left_out = (x.sum() - x) / 9
    plain, _ = intervals.jackknife_interval(x.mean(), left_out, 0.95)
    single, _ = intervals.stratified_jackknife_interval(x.mean(), left_out, 0.95, np.zeros(10, dtype=np.int64))
    assert ends(single) == pytest.approx(ends(plain))


@given(st.lists(st.floats(-10, 10, width=16), min_size=3, max_size=30))
def test_quantiles_and_skewness_are_scipys(values):
    """What replaces scipy.stats, for the time that takes to import, says the same."""
    x = np.array(values)
    if x.std() > 1e-3:
        assert intervals.skewness_of(x) == pytest.approx(stats.skew(x), rel=1e-6, abs=1e-9)
    assert intervals.student_t(0.975, len(x)) == pytest.approx(stats.t.ppf(0.975, len(x)), rel=1e-12)


def test_equal_values_have_no_skewness():
    """Rather than none that is a number."""
    assert intervals.skewness_of(np.full(5, 0.3)) == 0
