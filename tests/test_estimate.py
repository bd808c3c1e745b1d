import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate
from embcheck.settings import Settings, using
from embcheck.stats import intervals


def test_exact_has_no_width():
    """An exact estimate is its own interval, at the confidence level in force."""
    with using(Settings(confidence_level=0.9)):
        found = Estimate.exact(0.25, n=7, unit="tokens", name="share")
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)
    assert (found.is_exact, found.method, found.n, found.unit, found.name) == (True, "exact", 7, "tokens", "share")
    assert found.confidence_level == 0.9


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_exact_refuses_what_is_not_a_number(value):
    """A value that is not finite is not measurable, and is named."""
    with pytest.raises(NotMeasurable, match="mean norm is not a finite number"):
        Estimate.exact(value, name="mean norm")


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_the_value_is_the_mean_of_the_units(values):
    """The value is the mean, whatever the units, and lies in its interval."""
    found = Estimate.from_units(values, unit="words")
    assert found.value == pytest.approx(sum(values) / len(values), rel=1e-9, abs=1e-9)
    assert found.low <= found.value <= found.high
    assert found.units.tolist() == values


def test_a_sample_of_a_population_has_the_corrected_interval():
    """A population makes the interval that of sampling without replacement."""
    x = np.array([0.2, 0.4, 0.5, 0.9])
    found = Estimate.from_units(x, unit="tokens", population=10)
    interval = intervals.t_interval(x, 0.95, 10)
    assert (found.low, found.high) == (interval.low, interval.high)
    assert found.method == "Student t, finite-population correction"


def test_a_whole_population_is_exact():
    """When every unit was measured there is no uncertainty left."""
    found = Estimate.from_units([1, 2, 6], unit="tokens", population=3, details={"a": 1})
    assert (found.is_exact, found.value, found.low, found.high, found.n) == (True, 3, 3, 3, 3)
    assert found.details == {"a": 1}
    assert found.units.tolist() == [1, 2, 6]


def test_equal_units_decide_nothing():
    """Unbounded units without spread give a value and the reason why it may not decide."""
    found = Estimate.from_units([0.3] * 5, unit="words")
    assert (found.value, found.low, found.high) == (0.3, 0.3, 0.3)
    assert found.reason == "all 5 words have the same value, so there is no spread to judge by"


def test_equal_bounded_units_have_an_interval():
    """Bounded units without spread get a betting interval instead, and may decide."""
    found = Estimate.from_units([1.0] * 50, unit="words", bounds=(0, 1))
    assert found.reason is None
    assert (found.method, found.high) == ("betting", 1.0)
    assert 0.8 < found.low < 1


def test_the_generator_orders_a_betting_interval_only():
    """Units in a meaningful order are shuffled before betting; the value and the units kept stay as given."""
    x = [1.0] * 190 + [0.0] * 10
    first = Estimate.from_units(x, unit="words", bounds=(0, 1), rng=np.random.default_rng(0))
    again = Estimate.from_units(x, unit="words", bounds=(0, 1), rng=np.random.default_rng(0))
    other = Estimate.from_units(x, unit="words", bounds=(0, 1), rng=np.random.default_rng(1))
    assert first.method == "betting"
    assert (first.low, first.high) == (again.low, again.high) != (other.low, other.high)
    assert first.units.tolist() == x


def test_the_level_in_force_widens_the_interval():
    """A higher confidence level gives a wider interval."""
    x = np.linspace(0, 1, 9)
    widths = []
    for level in (0.8, 0.95, 0.99):
        with using(Settings(confidence_level=level)):
            found = Estimate.from_units(x, unit="words")
        assert found.confidence_level == level
        widths.append(found.high - found.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[2]


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]], 3.0], ids=["none", "one", "two dimensions", "a number"])
def test_an_interval_needs_two_units(values):
    """Fewer than two units, or an array of another shape, are refused with the shape."""
    with pytest.raises(NotMeasurable, match="needs at least 2 words"):
        Estimate.from_units(values, unit="words")


def test_units_that_are_not_numbers_are_counted():
    """Units without a finite value are refused and counted, not dropped."""
    with pytest.raises(NotMeasurable, match="2 of 4 words have no finite value"):
        Estimate.from_units([1, math.nan, 2, math.inf], unit="words")


def test_a_jackknife_is_centred_on_the_value():
    """The interval is the jackknife's around the value, and its pseudo-values are the labelled units."""
    left_out = np.array([0.4, 0.5, 0.6, 0.3])
    found = Estimate.jackknife(0.45, left_out, unit="words", over="words", labels="abcd", name="share")
    interval, pseudo = intervals.jackknife_interval(0.45, left_out, 0.95)
    assert (found.low, found.high, found.method) == (interval.low, interval.high, "jackknife-t over words")
    assert (found.value, found.n, found.unit, found.name) == (0.45, 4, "words", "share")
    assert found.units.tolist() == list(found.parts[0].values) == pseudo.tolist()
    assert (found.parts[0].labels, found.parts[0].pseudo) == (("a", "b", "c", "d"), True)


def test_a_jackknife_may_have_an_interval_of_its_own():
    """Such as one inside bounds, at the confidence level in force; the method says which it is."""
    with using(Settings(confidence_level=0.8)):
        about = {"unit": "words", "over": "words of the category"}
        inside = partial(intervals.share_jackknife_interval, answers=1)
        found = Estimate.jackknife(1.0, np.ones(30), interval=inside, **about)
    assert found.high > found.low > 0.8
    assert found.method == "Wilson's score by jackknife over words of the category"
    assert found.parts == ()
