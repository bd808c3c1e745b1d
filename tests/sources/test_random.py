"""Random tables."""

from __future__ import annotations

import pytest
import torch

from embcheck import lexicons, sources
from embcheck.errors import SpecError
from embcheck.spec import parse
from embcheck.table.vocabulary import TokenKind


def load(text):
    return sources.load(parse(text), device="cpu")


def test_numbers_are_standard_normal():
    """Mean 0, variance 1, and no block repeats another."""
    vectors = load("random:30000x80").vectors
    assert abs(vectors.mean().item()) < 0.003
    assert abs(vectors.var().item() - 1) < 0.005
    flat = vectors.flatten()
    assert not torch.equal(flat[: 2**20], flat[2**20 : 2**21])


def test_the_same_spec_is_the_same_table():
    """The numbers depend on shape and seed alone, and are these on every machine."""
    first = load("random:100x8").provenance.weights_sha256
    assert load("random:100x8,seed=0").provenance.weights_sha256 == first
    assert load("random:100x8,seed=1").provenance.weights_sha256 != first
    drawn = [0.0599110350, 0.0155596342, -1.1644384861, -0.1326471269, 0.5438765287, -0.2004869728]
    assert load("random:2x3").vectors.flatten().tolist() == pytest.approx(drawn)


def test_words():
    """Every word of the lists, every visible ASCII character and as many other characters are there, once each."""
    table = load("random:30522x2")
    assert len(set(table.tokens)) == 30522
    assert set(lexicons.words()) <= set(table.tokens)
    assert int((table.vocabulary.kinds == TokenKind.ASCII_CHARACTER).sum()) == 94
    assert sum(len(token) == 1 and not token.isascii() for token in table.tokens) >= 300
    assert table.excluded() == {}


def test_a_small_table_has_the_first_words():
    """The tokens of a small table are the first of a large one's."""
    assert list(load("random:50x2").tokens) == list(load("random:500x2").tokens)[:50]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random:0x5", "no shape"),
        ("random:5x0", "no shape"),
        ("random:-5x5", "no shape"),
        ("random:5", "no shape"),
        ("random:axb", "no shape"),
        ("random:5x5x5", "no shape"),
        ("random:99999999999999x2", "no shape"),
        ("random:999999999x384", "would take 1431 GiB"),
        ("random:5x5,seed=x", "seed 'x' is no whole number"),
        ("random:5x5,seed=-1", "seed '-1' is no whole number"),
        ("random:5x5,sead=1", "no option 'sead'; it takes seed"),
    ],
)
def test_bad_specs_are_refused(text, message):
    """Shapes and seeds that can't be drawn are refused, by both functions."""
    with pytest.raises(SpecError, match=message):
        load(text)
    with pytest.raises(SpecError, match=message):
        sources.describe(parse(text))


def test_describe():
    """The size is told without drawing."""
    assert sources.describe(parse("random:1000000x1000")).bytes == 4_000_000_000
