"""GloVe, fastText and word2vec files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError, SpecError
from embcheck.sources.words import text, word2vec
from embcheck.spec import parse

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MATRICES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.floats(width=32))


def load(spec):
    return sources.load(spec, device="cpu")


def as_text(array, words=None, *, header=True, end="\n"):
    words = words or [f"w{i}" for i in range(len(array))]
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(words, array.tolist(), strict=True)]
    return end.join(([f"{len(array)} {array.shape[1]}"] if header else []) + lines).encode() + end.encode()


def as_binary(array, *, newline=True):
    rows = (f"w{i} ".encode() + row.astype("<f4").tobytes() + b"\n" * newline for i, row in enumerate(array))
    return f"{len(array)} {array.shape[1]}\n".encode() + b"".join(rows)


WRITERS = {
    "glove": lambda a: as_text(a, header=False),
    "fasttext": lambda a: as_text(a, end=" \n"),
    "word2vec": as_text,
    "word2vec ": as_binary,
    "word2vec  ": lambda a: as_binary(a, newline=False),
}


@pytest.mark.parametrize("form", WRITERS)
@FEW
@given(array=MATRICES)
@example(array=np.array([[np.nan, np.inf, -np.inf, 1e-45, 3.4e38, -0.0]], dtype=np.float32))
def test_round_trip(write_spec, form, array):
    """What was written in a format is what is read, to the last bit of each finite number."""
    table = load(write_spec(form.strip(), WRITERS[form](array)))
    assert torch.equal(torch.isnan(table.vectors), torch.from_numpy(np.isnan(array)))
    assert np.array_equal(table.vectors.numpy(), array, equal_nan=True)
    assert list(table.tokens) == [f"w{i}" for i in range(len(array))]


@pytest.mark.parametrize("form", WRITERS)
def test_blocks_join_without_a_seam(write_spec, monkeypatch, form):
    """Files longer than one block read the same as files that fit into one."""
    monkeypatch.setattr(text, "_BLOCK", 64)
    monkeypatch.setattr(word2vec, "_BLOCK", 64)
    array = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    table = load(write_spec(form.strip(), WRITERS[form](array)))
    assert np.array_equal(table.vectors.numpy(), array)
    assert list(table.tokens) == [f"w{i}" for i in range(50)]


def test_provenance_of_text(write_spec):
    """Text is float32, and the whole file was read."""
    content = as_text(np.ones((2, 3)))
    origin = load(write_spec("fasttext", content)).provenance
    assert (origin.source, origin.dtype, origin.shape, origin.bytes_read) == (
        "fasttext",
        "float32",
        (2, 3),
        len(content),
    )


def test_glove_words_may_hold_spaces(write_spec):
    """The last numbers of a line are the vector; what stands before them is the word."""
    content = as_text(np.ones((4, 2)), ["the", ". . .", "at name", "é"], header=False)
    assert list(load(write_spec("glove", content)).tokens) == ["the", ". . .", "at name", "é"]


def test_undecodable_words_are_replaced(write_spec):
    """Words that are not UTF-8 are read with a replacement character, in text and in binary."""
    assert list(load(write_spec("word2vec", b"1 2\nw\xff 1 2\n")).tokens) == ["w\ufffd"]
    binary = b"1 2\nw\xff " + np.ones(2, dtype="<f4").tobytes()
    assert list(load(write_spec("word2vec", binary)).tokens) == ["w\ufffd"]


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(write_spec, end, last):
    """Windows line ends, a space at the end and a missing last line end are all read."""
    content = as_text(np.arange(6).reshape(2, 3), end=end)
    table = load(write_spec("fasttext", content if last else content.removesuffix(end.encode())))
    assert table.vectors.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("scheme", "content", "message"),
    [
        ("glove", b"a 1 2\nb 1\nc 1 2\n", "line 2: 2 numbers are expected after the word but 1 are there"),
        ("glove", b"a 1 2\nb 1 2 3\nc 1 2\n", "line 2: 2 numbers are expected after the word but 3 are there"),
        ("glove", b"a 1 2\nb 1 x\nc 1 2\n", "line 2: 2 numbers are expected but only 1 are there, and 'x' is none"),
        ("glove", b"a 1 2\nb 1  2\nc 1 2\n", "line 2: 2 numbers"),
        ("glove", b"a 1 2\n\nc 1 2\n", "line 2: 2 numbers are expected after the word but 0"),
        ("glove", b"a 1 2\nb 1\r2\nc 1 2\n", "line 2: 2 numbers"),
        ("glove", b"2 2\na 1 2\nb 1 2\n", "read it as word2vec:"),
        ("glove", b"no numbers here\nat all\n", "do not end in numbers"),
        ("fasttext", b"a 1 2\nb 1 2\n", "does not say how many vectors follow; read it as glove:"),
        ("fasttext", b"3 2\na 1 2\nb 1 2\n", "3 vectors are promised but only 2 are there"),
        ("fasttext", b"1 2\na 1 2\nb 1 2\n", "line 3: only 1 vectors are promised but more follow"),
        ("fasttext", b"2 2\na 1 2\nb 1\n", "line 3: 2 numbers are expected after the word but 1 are there"),
        ("fasttext", b"2 2\na 1 2\nb c 1 2\n", "line 3: 2 numbers are expected after the word but 3 are there"),
        ("fasttext", b"2 2\na 1 2\nb 1 1e\n", "line 3: .* '1e' is none"),
        ("fasttext", b"999999999 300\na 1 2\n", "the header promises 999999999 x 300 vectors, at least"),
        ("fasttext", b"0 2\n", "promises 0 x 2"),
        ("word2vec", b"a 1 2\nb 1 2\n", "does not say how many"),
        ("word2vec", b"2 999999999999999\na 1 2\n", "at least"),
        ("word2vec", as_binary(np.ones((5, 8)))[:-9], "is truncated|at least"),
        ("word2vec", as_binary(np.ones((5, 8)))[:-2], "is truncated|at least"),
        ("word2vec", as_binary(np.ones((5, 8))) + b"xyz", "more bytes follow"),
        ("fasttext", b"\xba\x16\x4f\x2f" + b"\0" * 40, "is a fastText model"),
        ("glove", b"\x1f\x8b\x08rest", "compressed with gzip"),
        ("glove", b"PK\x03\x04rest", "zip archive"),
        ("glove", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("glove", b"", "is empty"),
    ],
)
def test_malformed_files_are_named(write_spec, scheme, content, message):
    """The error names the file, the line where there is one, what was expected and what was got."""
    spec = write_spec(scheme, content)
    with pytest.raises(SourceError, match=message) as caught:
        load(spec)
    assert spec.target in str(caught.value)
    assert "\n" not in str(caught.value)


def test_these_formats_have_no_options(tmp_path):
    """An option is refused rather than ignored."""
    (tmp_path / "v.txt").write_text("a 1 2")
    with pytest.raises(SpecError, match="glove has no option 'vocab'; it takes none"):
        load(parse(f"glove:{tmp_path}/v.txt,vocab={tmp_path}/v.txt"))


@pytest.mark.parametrize("scheme", ["glove", "fasttext", "word2vec"])
def test_a_directory_is_no_word_vectors(tmp_path, scheme):
    """A directory given for a file is refused."""
    with pytest.raises(SourceError, match="not a regular file"):
        load(parse(f"{scheme}:{tmp_path}"))


def test_describe_reads_the_first_lines(write_spec):
    """Headers tell the shape; without one the number of rows is left open."""
    array = np.ones((4, 3))
    assert sources.describe(write_spec("fasttext", as_text(array))).shape == (4, 3)
    assert sources.describe(write_spec("word2vec", as_binary(array))).bytes == 48
    assert sources.describe(write_spec("glove", as_text(array, header=False))).shape == (None, 3)


def test_rows_without_direction_are_classed(write_spec):
    """NaN and zero rows of word vectors are counted under what they are."""
    table = load(write_spec("glove", b"a nan 2\nb 0 0\nc 1 2\nd 1 1\n"))
    assert table.excluded() == {"non_finite": 1, "zero": 1}


FORMS = st.sampled_from(list(WRITERS))


@settings(FEW, max_examples=400)
@given(form=FORMS, at=st.integers(0, 90), junk=st.binary(max_size=9), cut=st.booleans())
def test_damaged_files_are_refused_or_read(write_spec, form, at, junk, cut):
    """Whatever bytes stand in a file, nothing but a one-line embcheck error is raised."""
    good = WRITERS[form](np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    content = good[:at] + junk + (b"" if cut else good[at + len(junk) :])
    try:
        assert len(load(write_spec(form.strip(), content or b"x")).vectors) >= 1
    except EmbcheckError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


@settings(FEW, max_examples=200)
@given(scheme=st.sampled_from(["glove", "fasttext", "word2vec"]), content=st.binary(min_size=1, max_size=60))
def test_any_bytes_are_refused_or_read(write_spec, scheme, content):
    """Files of anything at all raise nothing but embcheck errors."""
    for head in (b"", b"2 2\n"):
        try:
            assert load(write_spec(scheme, head + content)).width >= 1
        except EmbcheckError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
