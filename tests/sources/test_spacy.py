"""spaCy's word vectors: rows that many words share, by hand and by spaCy itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from written import hash_word, write_spacy

from embcheck import measures, needs, sources
from embcheck.errors import NotMeasurable, SourceError
from embcheck.lexicons import Analogy
from embcheck.sources.words.spacy import hash_words
from embcheck.spec import parse
from embcheck.table import spelling

VECTORS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
ROWS = {"cat": 2, "dog": 0, "Dog": 0, "hound": 0, "eine lange Überschrift": 1, "é": 3}


@pytest.fixture
def spec(tmp_path):
    return parse(f"spacy:{write_spacy(tmp_path / 'v', VECTORS, ROWS)}")


def load(spec):
    return sources.load(spec, device="cpu")


def test_every_word_leads_to_its_row(spec):
    """A row is called by the first of its words, all of them lead to it, and every row counts."""
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.numpy().tobytes() == VECTORS.tobytes()
    assert table.tokens == ["dog", "eine lange Überschrift", "cat", "é"]
    assert table.rows(list(ROWS)) == list(ROWS.values())
    assert (len(table.population), table.provenance.notes) == (4, ("6 words lead to 4 rows",))
    assert (described.shape, described.dtype, described.bytes) == ((4, 3), "float32", VECTORS.nbytes)


@pytest.mark.parametrize("inside", ["vocab", "pkg-1.0/vocab"])
def test_the_vectors_of_a_model_are_found(tmp_path, inside):
    """A model's folder has them in its vocab, a package's one folder further down."""
    folder = tmp_path / inside
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_spacy(folder, VECTORS, ROWS)
    assert load(parse(f"spacy:{tmp_path}")).rows(["hound"]) == [0]


def test_rows_without_a_word_are_left_out(tmp_path):
    """A row that no word leads to has no name, stands outside the population, and is counted in a note."""
    table = load(parse(f"spacy:{write_spacy(tmp_path / 'v', VECTORS, {'cat': 0, 'dog': 3})}"))
    assert (table.excluded(), list(table.population)) == ({"unreachable": 2}, [0, 3])
    assert "no word leads to 2 rows, which are left out" in table.provenance.notes


def test_words_that_spacy_keeps_by_number_are_noted(spec, monkeypatch):
    """Where spaCy is not there to name its symbols, their words are left out, and a note says how to have them."""
    monkeypatch.setitem(sys.modules, "spacy.symbols", None)
    Path(spec.target, "key2row").write_bytes(msgspec.msgpack.encode({hash_word("cat"): 1, 391: 2}))
    table = load(spec)
    assert (table.tokens[1], table.tokens[2]) == ("cat", "")
    assert table.provenance.notes[0].startswith("1 word is left out")


def test_hashes_are_those_of_the_definition():
    """Texts of every length modulo eight, hashed together, have the hashes that a loop over their bytes gives."""
    texts = ["", "a", "é", *("x" * n for n in range(1, 40)), "日本語の単語です", "longer" * 150]
    assert [int(value) for value in hash_words(texts)] == [hash_word(text) for text in texts]
    assert int(hash_words(["y" * 2000])[0]) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vectors.cfg", b'{"mode": "floret"}', "of mode floret"),
        ("vectors.cfg", b'["x"]', "of mode None"),
        ("key2row", b"\x80", "small models"),
        ("key2row", msgspec.msgpack.encode({hash_word("cat"): 4}), "rows from 4 to 4"),
        ("key2row", msgspec.msgpack.encode({hash_word("cat"): -1}), "rows from -1 to -1"),
        ("key2row", msgspec.msgpack.encode({hash_word("cat"): 2**63}), "no map of hashes"),
        ("key2row", msgspec.msgpack.encode({hash_word("nobody"): 1}), "none of the words"),
        ("key2row", msgspec.msgpack.encode([1, 2]), "no map of hashes"),
        ("key2row", b"\xdf\xff\xff\xff\xff", "no map of hashes"),
        ("strings.json", b"[]", "no list of words"),
        ("strings.json", json.dumps(["\ud800"]).encode(), "no Unicode"),
        ("vectors", b"junk", "not a .npy file"),
    ],
)
def test_what_cannot_be_read_is_refused(spec, name, content, message):
    """Vectors of n-grams, rows that are not there, lost words and damaged files are refused in one line."""
    Path(spec.target, name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load(spec)


def test_another_folder_is_refused(tmp_path):
    """A folder without vectors is refused, with what to give."""
    with pytest.raises(SourceError, match=r"nlp\.to_disk"):
        load(parse(f"spacy:{tmp_path}"))


def test_words_whose_row_bears_another_name_are_ranked_by_their_row(tmp_path):
    """An analogy of words that are not what their rows are called ranks those rows; two words of one row make none."""
    basis = np.eye(6, dtype=np.float32)
    vectors = np.stack([basis[0], basis[1], basis[2], basis[0] - basis[1] + basis[2], basis[3], basis[4]])
    rows = {"KING": 0, "MAN": 1, "lady": 2, "QUEEN": 3, "other": 4, "Queen": 5, "woman": 2, "sovereign": 3, "rex": 0}
    table = load(parse(f"spacy:{write_spacy(tmp_path / 'v', vectors, rows)}"))
    estimate = measures.analogy_rank(table, Analogy("x", "rex", "MAN", "woman", "sovereign"))
    assert (estimate.value, estimate.details["nearest"][0]["token"]) == (1, "QUEEN")
    with pytest.raises(NotMeasurable, match="share a row"):
        measures.analogy_rank(table, Analogy("x", "KING", "MAN", "rex", "sovereign"))


def test_words_of_one_rows_variants_make_no_question(tmp_path):
    """Words that lead to rows of one word in two cases would be left out of each other's ranking: it does not apply."""
    rows = {"LARGE": 0, "large": 1, "GOOD": 2, "better": 3, "other": 4, "big": 0, "bigger": 1, "good": 2}
    table = load(parse(f"spacy:{write_spacy(tmp_path / 'v', np.eye(6, dtype=np.float32)[:5], rows)}"))
    analogy = Analogy("x", "better", "good", "big", "bigger")
    with pytest.raises(NotMeasurable, match="rows that write one word"):
        measures.analogy_rank(table, analogy)
    assert needs.words("analogy")(table, {"analogy": analogy}) == "two of its words have rows of one word"
    other = Analogy("x", "better", "good", "big", "other")
    assert needs.words("analogy")(table, {"analogy": other}) is None
    assert measures.analogy_rank(table, other).value > 0


def test_numbers_that_share_a_row_count_once(tmp_path):
    """Of numbers that lead to one row the first counts, so that no number is read off its own row."""
    rows = {"7": 0, "17": 1, "70": 0, "2": 2, "170": 1}
    table = load(parse(f"spacy:{write_spacy(tmp_path / 'v', np.eye(3, dtype=np.float32), rows)}"))
    values, at = spelling.numbers(table)
    assert (values.tolist(), at.tolist()) == ([2, 7, 17], [2, 0, 1])


@pytest.mark.filterwarnings("ignore")
def test_spacy_reads_the_same(tmp_path):
    """A pruned model that spaCy wrote: each word leads to the row that spaCy finds, its own symbols among them."""
    pytest.importorskip("spacy", exc_type=ImportError)
    from spacy.vocab import Vocab

    words = ["cat", "dog", "DATE", "kitten", "puppy", "Überschrift", "antidisestablishmentarianism"]
    vocab = Vocab()
    for word, vector in zip(words, np.random.default_rng(1).standard_normal((7, 8)).astype(np.float32), strict=True):
        vocab.set_vector(word, vector)
    vocab.prune_vectors(4)
    vocab.to_disk(tmp_path / "vocab")
    table = load(parse(f"spacy:{tmp_path}"))
    assert table.vectors.numpy().tobytes() == vocab.vectors.data.tobytes()
    assert table.rows(words) == [vocab.vectors.find(key=word) for word in words]
    firsts = {row: vocab.strings[key] for key, row in reversed(vocab.vectors.key2row.items())}
    assert table.tokens == [firsts[row] for row in range(4)]
