"""Measures are found by name, and their estimates say which of them made them."""

import inspect

import pytest

from embcheck import measures


@pytest.mark.parametrize("name", measures.__all__)
def test_a_measure_lives_in_a_module_of_its_name(name):
    """It is loaded from there, keeps its name, its docstring and its arguments."""
    function = getattr(measures, name)
    assert (function.__name__, function.__module__.rpartition(".")[2]) == (name, name)
    assert function.__doc__
    assert next(iter(inspect.signature(function).parameters)) in {"table", "tables"}


def test_an_estimate_carries_its_measure(gaussian_table, rng):
    """So a property of one's own is known by what it calls, whatever its own name."""
    table = gaussian_table(60, 8)
    assert measures.mean_cosine(table, rng=rng).measure == "mean_cosine"
    assert measures.constant_length_share(table).measure == "constant_length_share"


def test_an_unknown_measure_is_named_with_those_there_are():
    """The message lists them all."""
    with pytest.raises(AttributeError, match="no measure 'kurtosis'; there are analogy_accuracy, "):
        _ = measures.kurtosis
