"""What a table says of single words, held against float64 arithmetic from the definitions."""

from __future__ import annotations

import numpy as np
import pytest

import embcheck
from embcheck import EmbeddingTable, explore
from embcheck.errors import NotMeasurable, UsageError

WORDS = ["king", "man", "woman", "queen", "Queen", "apple", "<b>\x1b", "zero"]


@pytest.fixture(scope="module")
def vectors():
    vectors = np.random.default_rng(3).standard_normal((8, 6))
    vectors[3] = vectors[0] - vectors[1] + vectors[2] + 0.1
    vectors[4] = vectors[3] + 0.05
    vectors[7] = 0
    return vectors


@pytest.fixture(scope="module")
def table(vectors):
    return EmbeddingTable.from_arrays(vectors, WORDS)


@pytest.fixture(scope="module")
def cosines(vectors):
    units = vectors[:7] / np.linalg.norm(vectors[:7], axis=1, keepdims=True)
    return units @ units.T


def test_nearest(table, cosines):
    """The k largest cosines with a word, best first, as named tuples; a token's text is as it is."""
    order = [row for row in np.argsort(-cosines[5]) if row != 5][:3]
    nearest = table.nearest("apple", k=3)
    assert [(n.token, n.id) for n in nearest] == [(WORDS[row], row) for row in order]
    assert [n.cosine for n in nearest] == pytest.approx(cosines[5][order], abs=1e-6)
    assert table.nearest("#5", 3) == nearest
    assert "<b>\x1b" in [n.token for n in table.nearest("apple")]


def test_nearest_counts_variants_once(table):
    """With ``merge`` another case of the word is no neighbor of it."""
    assert table.nearest('"queen"', 1)[0].token == "Queen"
    assert "Queen" not in [n.token for n in table.nearest("queen", merge=True)]


def test_probe(table, cosines):
    """Statistics are those of the cosines with every other row that has a direction, and the ends are sorted."""
    probe = table.probe("apple")
    others = np.delete(cosines[5], 5)
    assert (probe.token, probe.id, probe.rows.tolist()) == ("apple", 5, [0, 1, 2, 3, 4, 6])
    assert probe.cosines == pytest.approx(others, abs=1e-6)
    statistics = (probe.min, probe.max, probe.mean, probe.median, probe.share)
    assert statistics == pytest.approx(
        (others.min(), others.max(), others.mean(), np.median(others), (others >= 0).mean()), abs=1e-6
    )
    assert (probe.negative, probe.non_negative) == ((others < 0).sum(), (others >= 0).sum())
    assert [n.id for n in probe.nearest] == [n.id for n in probe.farthest][::-1]
    assert probe.nearest[0].cosine == probe.max
    document = explore.probe(table, "apple")
    assert all(document[name] == getattr(probe, name) for name in ("min", "mean", "median", "negative", "share"))


def test_analogy(table, cosines, vectors):
    """3CosAdd from unit vectors: nearest without and with the words asked for, and the target's rank in both."""
    units = vectors[:7] / np.linalg.norm(vectors[:7], axis=1, keepdims=True)
    scores = units @ (units[0] - units[1] + units[2])
    best = max((score, row) for row, score in enumerate(scores) if row not in {0, 1, 2})[1]
    solved = table.analogy("king - man + woman = queen", k=2)
    assert (solved.nearest[0].id, solved.target_rank, len(solved.nearest)) == (best, 1, 2)
    forms = [scores[0], scores[1], scores[2], max(scores[3:5]), *scores[5:7]]
    assert solved.ranks["queen"] == 1 + sum(score > forms[3] for score in forms)
    assert solved.ranks["king"] == 1 + sum(score > forms[0] for score in forms)
    assert table.analogy("king - man + woman").target_rank is None
    assert solved.nearest_of_all[0].cosine >= solved.nearest[0].cosine


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda table: table.nearest("pear"), UsageError, "'pear' is no word of this vocabulary"),
        (lambda table: table.nearest("apple", 0), UsageError, "k must be at least 1, got 0"),
        (lambda table: table.nearest("zero"), NotMeasurable, "has no direction"),
        (lambda table: table.probe("#8"), UsageError, "there is no row #8"),
        (lambda table: table.analogy("king man woman"), UsageError, "write it as king - man"),
        (lambda table: table.analogy(["king", "-", "man", "+", "woman"]), UsageError, "in one text"),
        (lambda table: explore.analogy(table, ["king", "-", "man", "+", "woman"], 2), UsageError, "in one text"),
        (lambda table: table.nearest(8), UsageError, "there is no row #8"),
        (lambda table: table.nearest(1.0), UsageError, "a word is a text or the number of a row, got float 1.0"),
        (lambda table: explore.tokens(table, [1]), UsageError, "a word is a text, got int 1"),
        (lambda table: table.rows([1]), UsageError, "a word is a text, got int 1"),
        (lambda table: table.directions(["king", None]), UsageError, "a word is a text, got NoneType None"),
    ],
)
def test_wrong_words(table, call, error, says):
    """What is no word, no count or no analogy is an error in one line."""
    with pytest.raises(error, match=says):
        call(table)


def test_a_row_is_a_word_by_its_number(table):
    """What ``Neighbor.id`` is, or NumPy's row, may stand where a word may."""
    row = table.nearest("king", 1)[0].id
    assert table.nearest(row) == table.nearest(np.int64(row)) == table.nearest(f"#{row}")
    assert table.probe(row).id == row
    assert explore.similarity(table, row, "king") == explore.similarity(table, f"#{row}", "king")


def test_explore_asks_as_the_table_does(table):
    """The functions take the table first, the same questions, and as many rows if not told."""
    solved, document = table.analogy("king - man + woman"), explore.analogy(table, "king - man + woman")
    assert [n.id for n in solved.nearest] == [entry["id"] for entry in document["sources_excluded"]]
    listed = explore.neighbors(table, "king")["neighbors"]
    assert [n.id for n in table.nearest("king")] == [entry["id"] for entry in listed]


def test_inspect_says_of_a_table_what_the_command_does(table):
    """Of a table that was read, what is read of its spec; of one in memory, what it holds."""
    held = explore.inspect(embcheck.load("noise=random:30x4"))
    assert (held["spec"], held["shape"], held["source"]["bytes"]) == ("random:30x4", [30, 4], 480)
    in_memory = explore.inspect(table)
    assert (in_memory["spec"], in_memory["source"], in_memory["population"]["rows"]) == ("memory", {}, 7)


@pytest.mark.parametrize("ask", ["nearest", "probe", "analogy"])
def test_a_word_of_several_tokens_is_refused_by_name(ask):
    """Whichever way it is asked for, a word that is no single row is refused, with its tokens and the way out."""
    demo = embcheck.load("demo")
    question = "king - embeddings + woman" if ask == "analogy" else "embeddings"
    with pytest.raises(UsageError, match=r"'embeddings' is 4 tokens here: 'em' \(#7861\), .*such as '#7861'"):
        getattr(demo, ask)(question)
