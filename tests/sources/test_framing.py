"""Word vectors whose words end elsewhere than they seem to: spaces, tabs, marks, other encodings, doubles."""

from __future__ import annotations

import bz2
import lzma
import struct

import numpy as np
import pytest
from gensim.models import KeyedVectors

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.table.vocabulary import RowStatus


def load(spec):
    return sources.load(spec, device="cpu")


def binary(words, array, *, end=b""):
    head = f"{len(words)} {array.shape[1]}\n".encode()
    return head + b"".join(
        word.encode() + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, array, strict=True)
    )


def gaussian(rows, width, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize("word", ["new york", "new yor", "new y", "a bc d", "new york city"])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_space_inside_a_word_is_refused(write_spec, word, at, end):
    """A word2vec binary whose word holds a space is refused, wherever the word stands: its row would be another's."""
    for seed in range(8):
        words = ["king", "queen", "paris", "rome"]
        words[at] = word
        with pytest.raises(SourceError, match="a space inside"):
            load(write_spec("word2vec", binary(words, gaussian(4, 12, seed), end=end)))


def test_what_gensim_writes_with_a_space_inside_a_word_is_refused(write_spec, tmp_path):
    """The case as users meet it: gensim writes such words, and reads them back as others."""
    vectors = KeyedVectors(10)
    vectors.add_vectors(["king", "new york", "queen", "rome"], gaussian(4, 10))
    vectors.save_word2vec_format(tmp_path / "v.bin", binary=True)
    with pytest.raises(SourceError, match="the word 'new' has a space inside; write the words with _"):
        load(write_spec("word2vec", (tmp_path / "v.bin").read_bytes()))
    vectors.index_to_key[1] = "new_york"
    vectors.key_to_index = {key: row for row, key in enumerate(vectors.index_to_key)}
    vectors.save_word2vec_format(tmp_path / "v.bin", binary=True)
    assert load(write_spec("word2vec", (tmp_path / "v.bin").read_bytes())).tokens[1] == "new_york"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_odd_numbers_alone_are_no_misframing(write_spec, end):
    """Rows of NaN, infinities or tiny numbers are read as they are, and classed as what they are."""
    array = gaussian(5, 12)
    array[1], array[2, 0], array[3, 1] = np.nan, np.inf, 1e-30
    table = load(write_spec("word2vec", binary(["a", "b", "c", "d", "é"], array, end=end)))
    assert np.array_equal(table.vectors.numpy(), array, equal_nan=True)
    assert list(table.tokens) == ["a", "b", "c", "d", "é"]


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("scheme", "content"),
    [
        ("glove", BOM + b"the 1 2\nof 3 4\n"),
        ("word2vec", BOM + b"2 2\nthe 1 2\nof 3 4\n"),
        ("fasttext", BOM + b"2 2\r\nthe 1 2\r\nof 3 4\r\n"),
        (
            "word2vec",
            BOM
            + b"2 2\n"
            + b"".join(w + b" " + struct.pack("<2f", *v) for w, v in [(b"the", (1, 2)), (b"of", (3, 4))]),
        ),
        ("glove", b"the\t1\t2\nof\t3\t4\n"),
        ("word2vec", b"2\t2\nthe\t1\t2\nof\t3\t4\n"),
        ("fasttext", b"2 2\nthe\t1\t2\nof\t3\t4\n"),
    ],
)
def test_marks_and_tabs_are_no_part_of_words(write_spec, scheme, content):
    """A byte-order mark is not the first letter of the first word, and tabs separate fields as spaces do."""
    table = load(write_spec(scheme, content))
    assert list(table.tokens) == ["the", "of"]
    assert table.vectors.tolist() == [[1, 2], [3, 4]]


def test_words_of_another_encoding_are_noted(write_spec):
    """Words in Latin-1 are read with replacement characters, and the table says how many."""
    for content in (b"a 1 2\ncaf\xe9 1 3\nd\xe9j\xe0 2 1\n", "a 1 2\nb\ufffd 1 3\n".encode()):
        notes = load(write_spec("glove", content)).provenance.notes
        assert any("2 words are not UTF-8" in note for note in notes) == (b"\xe9" in content)


@pytest.mark.parametrize("scheme", ["glove", "word2vec"])
def test_doubled_words_count_once(write_spec, scheme):
    """Of rows with the same word only the first is in the population, and the table says how many are not."""
    lines = b"a 1 2\nb 1 3\na 2 1\nc 1 1\n"
    table = load(write_spec(scheme, lines if scheme == "glove" else b"4 2\n" + lines))
    assert table.population.tolist() == [0, 1, 3]
    assert table.status[2] == RowStatus.UNREACHABLE
    assert "1 row repeats a word, and is left out" in table.provenance.notes
    assert table.rows(["a"]) == [0]


@pytest.mark.parametrize(
    ("pack", "program"), [(bz2.compress, r"bzip2; unpack it first \(bunzip2 FILE\)"), (lzma.compress, r"xz; .*unxz")]
)
@pytest.mark.parametrize("scheme", ["glove", "word2vec", "gensim"])
def test_compressed_files_are_named(write_spec, pack, program, scheme):
    """A file compressed with bzip2 or xz is called that, with the program that unpacks it."""
    with pytest.raises(SourceError, match=f"is compressed with {program}"):
        load(write_spec(scheme, pack(b"a 1 2\n")))
