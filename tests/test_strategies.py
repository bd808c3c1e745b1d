"""What strategies draw from a table, in which order they shrink, and how they say what is wrong."""

from __future__ import annotations

import subprocess
import sys
from unittest import SkipTest

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import embcheck
from embcheck import lexicons, strategies
from embcheck.errors import NotMeasurable, UsageError
from embcheck.strategies import _rows_of
from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.vocabulary import TokenKind, classify

TEXTS = ["<0x00>", "!", "é", " a", "\n", " dog", " Dog", "dog", "12", " cats", " cat", "ing", " dogs", "[unused1]"]
KINDS = {
    "word": {" a", " dog", " Dog", " cats", " cat", " dogs"},
    "inside": {"é", "dog", "ing"},
    "ascii": {"!"},
    "byte": {"<0x00>"},
    "control": {"\n"},
    "other": {"12"},
}


class Pieces:
    """A vocabulary of pieces, as byte-level BPE has it."""

    tokens = TEXTS
    kinds = np.array([TokenKind.BYTE if t.startswith("<0x") else classify(t) for t in TEXTS], dtype=np.uint8)
    status = np.array([5 if t.startswith("[") else 0 for t in TEXTS], dtype=np.uint8)

    def encode(self, words):
        """Rows of words that have a leading space."""
        return [(TEXTS.index(f" {w}"),) if f" {w}" in TEXTS else () for w in words]


@pytest.fixture(scope="module")
def table():
    """A table of one-hot rows."""
    size = len(TEXTS)
    return EmbeddingTable(torch.eye(size), Pieces(), Provenance("toy", "memory", (size, size), "float32"))


def everything(strategy, examples=300):
    """All that a strategy draws."""
    seen = []

    @settings(max_examples=examples, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(drawn):
        seen.append(drawn)

    draw()
    return seen


# --- what is drawn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_each_kind(table, kind):
    """Each kind draws its tokens, all of them and no other, with their rows."""
    seen = everything(strategies.tokens(table, kind=kind))
    assert {token.text for token in seen} == KINDS[kind]
    assert all(TEXTS[token.id] == token.text for token in seen)


def test_tokens_are_those_of_the_population(table):
    """Without a kind, every row of the population is drawn, and none outside it."""
    assert {t.id for t in everything(strategies.tokens(table))} == set(table.population.tolist())
    assert len(TEXTS) - 1 in {t.id for t in everything(strategies.tokens(table.with_population("all")))}


def test_simplest_first(table):
    """Words come first, single characters last, each by row id."""
    order = [TEXTS[row] for row in _rows_of(table, None)]
    words = [" dog", " Dog", " cats", " cat", " dogs"]
    assert order == [*words, "<0x00>", "dog", "12", "ing", " a", "!", "é", "\n"]


@pytest.mark.parametrize("first", [0, 7, 900, 4_000])
def test_shrinks_to_the_first_that_fails(first):
    """Where all tokens from some place on fail, the counterexample is the first of them."""
    big = EmbeddingTable.from_arrays(np.ones((5_000, 1)), [f"t{'abcdefghij'[i % 10]}{'x' * i}" for i in range(5_000)])
    calm = settings(database=None, max_examples=500, derandomize=True)
    assert find(strategies.tokens(big), lambda token: token.id >= first, settings=calm).id == first


def test_half_of_the_draws_are_simple():
    """About half of the draws come from the first thousand, the others from all alike."""
    names = ["".join("abcdefghij"[int(digit)] for digit in f"{i:05d}") + "x" * (i % 7) for i in range(50_000)]
    big = EmbeddingTable.from_arrays(np.ones((50_000, 1)), names)
    rows = np.array([token.id for token in everything(strategies.tokens(big), 400)])
    assert 0.3 < (rows < 1_000).mean() < 0.8
    assert rows.max() > 25_000


def test_words_resolve(table):
    """Words are found again by the table, and lists are drawn from in their order."""
    assert set(everything(strategies.words(table))) == {"a", "dog", "Dog", "cats", "cat", "dogs"}
    listed = strategies.words(table, among=["horse", "cat", "dog"])
    assert set(everything(listed)) == {"cat", "dog"}
    assert find(listed, lambda _: True, settings=settings(database=None)) == "cat"


def test_pairs_are_two_tokens(table):
    """A pair is two different tokens of a kind: every ordered pair of them is drawn."""
    seen = everything(strategies.pairs(table, kind="inside"))
    assert {(a.text, b.text) for a, b in seen} == {(a, b) for a in KINDS["inside"] for b in KINDS["inside"] if a != b}


def test_pairs_of_a_relation(table):
    """A relation gives the pairs of which both words are single tokens."""
    relation = lexicons.relation("plural", [("cat", "cats"), ("cow", "cows"), ("dog", "dogs")])
    seen = {(a.text, b.text) for a, b in everything(strategies.pairs(table, relation=relation))}
    assert seen == {(" cat", " cats"), (" dog", " dogs")}


def test_variants_write_one_word(table):
    """Variants are different tokens that differ by case and space alone."""
    seen = {(a.text, b.text) for a, b in everything(strategies.variants(table))}
    assert seen == {(a, b) for a in (" dog", " Dog", "dog") for b in (" dog", " Dog", "dog") if a != b}


@given(strategies.vectors(width=7))
def test_vectors(vector):
    """Vectors have the width asked for, are not zero, and hold quarters."""
    assert vector.shape == (7,)
    assert vector.dtype == torch.float32
    assert float(vector.norm()) >= 0.25
    assert torch.equal(vector * 4, (vector * 4).round())


def test_vectors_of_a_table(table):
    """With a table they have its width."""
    assert {len(vector) for vector in everything(strategies.vectors(table), 5)} == {len(TEXTS)}


@settings(max_examples=50)
@given(strategies.tables(rows=(2, 5), width=(1, 3)))
def test_tables(table):
    """Tables are within the ranges, can be measured on, and print as the call that makes them."""
    assert 2 <= len(table.vectors) <= 5
    assert 1 <= table.width <= 3
    assert len(table.population) >= 2
    again = eval(repr(table), {"EmbeddingTable": EmbeddingTable})  # noqa: S307 - written by ourselves
    assert torch.equal(again.vectors, table.vectors.to(again.vectors.dtype))
    assert list(again.tokens) == list(table.tokens)


def test_tables_find_edge_cases():
    """Zero rows and equal rows are among what tables draw."""
    drawn = everything(strategies.tables(rows=(3, 4), width=(1, 2)))
    assert any(bool((t.norms == 0).any()) for t in drawn)
    assert any(len(t.vectors.unique(dim=0)) < len(t.vectors) for t in drawn)


# --- which table ----------------------------------------------------------------------------------------------------


def test_the_table_in_force(table):
    """One strategy draws from whatever table is in force when it is drawn; afterwards none is."""
    strategy = strategies.tokens(kind="word")
    other = EmbeddingTable.from_arrays(np.eye(3), ["one", "two", "three"])
    with strategies.using(table):
        assert {t.text for t in everything(strategy)} == KINDS["word"]
        with strategies.using(other):
            assert {t.text for t in everything(strategy)} == {"one", "two", "three"}
        assert {t.text for t in everything(strategy)} == KINDS["word"]
    with pytest.raises(UsageError, match="embcheck_table"):
        everything(strategy)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        (strategies.tokens(kind="byte"), "'memory' has no token of kind 'byte'"),
        (strategies.words(among=["cow"]), "has no such word"),
        (strategies.variants(), "has no word that two tokens write"),
        (strategies.pairs(relation=lexicons.relations("plural")[0]), "'plural'"),
        (strategies.pairs(kind="ascii"), "only one such token is here"),
    ],
)
def test_nothing_to_draw(strategy, reason):
    """Where a table has nothing to draw, the test is skipped with the reason."""
    with strategies.using(EmbeddingTable.from_arrays(np.eye(3), ["one", "two", "x"])), pytest.raises(SkipTest) as found:
        everything(strategy)
    assert reason in str(found.value)
    assert isinstance(found.value, NotMeasurable)


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.tokens(kind="noun"), "unknown kind of token 'noun'; choose one of word, inside"),
        (lambda: strategies.tokens("word"), "draws from an EmbeddingTable, got 'word'"),
        (lambda: strategies.words(among="dog"), "among must be a list of words, got 'dog'"),
        (lambda: strategies.pairs(kind="word", relation=lexicons.relations()[0]), "not both"),
        (lambda: strategies.vectors(width=0), "width of 1 or more, got width 0"),
        (lambda: strategies.tables(rows=(1, 5)), r"rows must be a range within 2 to \d+, got \(1, 5\)"),
        (lambda: strategies.tables(width=(3, 2)), r"width must be a range within 1 to 4096, got \(3, 2\)"),
    ],
)
def test_wrong_use(make, message):
    """Wrong arguments are named in one line where the strategy is made."""
    with pytest.raises(UsageError, match=message) as found:
        make()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["tokens", "words", "pairs", "variants", "vectors", "tables"])
def test_without_hypothesis(monkeypatch, name):
    """Without hypothesis the error says what to install."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(UsageError, match=r"pip install 'embcheck\[hypothesis\]'"):
        getattr(strategies, name)()


def test_importing_is_cheap():
    """Importing the module imports neither hypothesis, torch nor numpy."""
    code = "import sys, embcheck.strategies; print([m for m in ('hypothesis', 'torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- universal claims -----------------------------------------------------------------------------------------------

THOROUGH = settings(database=None, derandomize=True, deadline=None)


def nearer_than_a_random_token(table):
    """The claim that a word's variant is nearer to it than any token that is drawn."""

    @THOROUGH
    @given(strategies.variants(table), strategies.tokens(table))
    def claim(pair, other):
        word, variant, random = table.units([pair[0].id, pair[1].id, other.id])
        assert other in pair or float(word @ variant) > float(word @ random)

    return claim


def test_variants_are_nearer_where_that_is_planted():
    """A word's case variant is nearer than any token drawn where variants lie beside each other, and not on noise."""
    rng = np.random.default_rng(0)
    words = [w for w in lexicons.words() if w == w.lower()][:300]
    tokens = [form for word in words for form in (word, word.capitalize())]
    noise = rng.standard_normal((600, 32))
    planted = np.repeat(noise[::2], 2, axis=0) + 0.1 * noise
    nearer_than_a_random_token(EmbeddingTable.from_arrays(planted, tokens))()
    with pytest.raises(AssertionError):
        nearer_than_a_random_token(EmbeddingTable.from_arrays(noise, tokens))()


@pytest.mark.slow
def test_universal_claims_on_a_real_model():
    """On the demo model variants (ligatures folded) are not always near, and every token has its own direction."""
    table = embcheck.load("demo", device="cpu")
    with pytest.raises(AssertionError) as found:
        nearer_than_a_random_token(table)()
    assert "Token(text=" in "\n".join(found.value.__notes__)

    @settings(THOROUGH, max_examples=20)
    @given(st.lists(strategies.tokens(table), min_size=1, max_size=50, unique=True))
    def own_direction(tokens):
        rows = [token.id for token in tokens]
        cosine = table.units(rows) @ table.units(table.population).T
        cosine[range(len(rows)), np.searchsorted(table.population, rows)] = -1
        assert float(cosine.max()) < 0.99

    own_direction()
