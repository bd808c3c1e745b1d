"""NumPy matrices and their word lists."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyarrow import parquet

from embcheck import sources
from embcheck.errors import EmbcheckError, SourceError, SpecError
from embcheck.spec import parse


@pytest.fixture
def write(tmp_path):
    """Write a matrix and a vocabulary, and return their spec."""

    def make(array, vocab, *, name="words.txt", options=""):
        np.save(tmp_path / "m.npy", array)
        path = tmp_path / name
        if isinstance(vocab, pa.Table):
            parquet.write_table(vocab, path)
        else:
            path.write_bytes(vocab)
        return parse(f"npy:{tmp_path}/m.npy,vocab={path}{options}")

    return make


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_every_float_in_any_order(write, dtype, order):
    """Matrices of each float type, byte order and memory order give the same numbers."""
    array = np.asarray(np.arange(6).reshape(3, 2), dtype=dtype, order=order)
    table = load(write(array, b"a\nb\nc\n"))
    assert table.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert table.vectors.is_contiguous()
    assert table.provenance.dtype == {">f4": "float32"}.get(dtype, dtype)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.txt", "a\né\u2028x\nc".encode()),
        ("w.txt", "\ufeffa\r\né\u2028x\r\nc\r\n".encode()),
        ("w.json", json.dumps(["a", "é\u2028x", "c"]).encode()),
        ("w.json", json.dumps({"c": 2, "a": 0, "é\u2028x": 1}).encode()),
        ("w.parquet", pa.table({"n": [1, 2, 3], "word": ["a", "é\u2028x", "c"]})),
        ("w.parquet", pa.table({"word": pa.array(["a", "é\u2028x", "c"]).dictionary_encode()})),
    ],
)
def test_reads_words_from_every_format(write, name, content):
    """Text, JSON and parquet give the same words; only line feeds end a line of text."""
    assert list(load(write(np.ones((3, 2)), content, name=name)).tokens) == ["a", "é\u2028x", "c"]


def test_a_column_is_chosen_by_name(write):
    """Of several columns of text the option says which."""
    words = pa.table({"x": ["p", "q"], "y": ["a", "b"]})
    assert list(load(write(np.ones((2, 2)), words, name="w.parquet", options=",column=y")).tokens) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("w.txt", b"a\nb\n", "", r"has 3 rows but .*w\.txt has 2 words"),
        ("w.txt", b"a\nb\nc\nd\n", "", "has 3 rows but .* has 4 words"),
        ("w.txt", b"a\nb\nc\n", ",column=x", "only parquet files have columns"),
        ("w.csv", b"a\nb\nc\n", "", "can't read words from a .csv file"),
        ("w.json", b'{"a": 0, "b": 2, "c": 5}', "", "gives 3 words rows from 0 to 5"),
        ("w.json", b'{"a": 0, "b": true, "c": 2}', "", "neither a JSON list of words"),
        ("w.json", b"[1, 2, 3]", "", "neither a JSON list of words"),
        ("w.json", b"[", "", "not valid JSON"),
        ("w.parquet", b"PAR1 no", "", "not a readable parquet file"),
        ("w.parquet", pa.table({"a": [1]}), "", "has 0 columns of text"),
        ("w.parquet", pa.table({"a": ["x"], "b": ["y"]}), "", r"has 2 columns of text \(a, b\); choose one"),
        ("w.parquet", pa.table({"a": ["x"]}), ",column=z", "no column of text called 'z'; it has a"),
        ("w.parquet", pa.table({"a": ["x", None, "z"]}), "", "row 1 has no word"),
    ],
)
def test_words_that_do_not_fit_are_refused(write, name, content, options, message):
    """A vocabulary that is malformed or of another size is refused, with both numbers."""
    with pytest.raises(SourceError, match=message):
        load(write(np.ones((3, 2)), content, name=name, options=options))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), "has shape"),
        (np.ones((3, 0)), "has shape"),
        (np.ones((1, 2, 3)), "has shape"),
        (np.ones((3, 2), dtype=np.int8), r"holds int8; .*take off the zero point.* multiply by the scale .*float32$"),
        (np.ones((3, 2), dtype=np.int64), "holds int64; .* multiply by the scale"),
        (np.ones((3, 2), dtype=complex), "holds complex128; save it as"),
    ],
)
def test_what_is_no_float_matrix_is_refused(write, array, message):
    """Other shapes and types are refused by name."""
    with pytest.raises(SourceError, match=message):
        load(write(array, b"a\nb\nc\n"))


def test_objects_are_never_unpickled(tmp_path):
    """An array of objects, which loading would unpickle, is refused."""
    np.save(tmp_path / "m.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    (tmp_path / "w.txt").write_text("a")
    with pytest.raises(SourceError, match="holds Python objects, which are not read"):
        load(parse(f"npy:{tmp_path}/m.npy,vocab={tmp_path}/w.txt"))


def test_a_vocabulary_must_be_given(tmp_path):
    """Without words the error says how to give them."""
    np.save(tmp_path / "m.npy", np.ones((2, 2)))
    with pytest.raises(SpecError, match=r"write npy:.*m\.npy,vocab=FILE"):
        load(parse(f"npy:{tmp_path}/m.npy"))


def test_rows_may_have_no_words(tmp_path):
    """With vocab=none rows are named by their numbers, all of them count, and `inspect` reads no vocabulary."""
    np.save(tmp_path / "m.npy", np.eye(3))
    spec = parse(f"npy:{tmp_path}/m.npy,vocab=none")
    table = load(spec)
    assert (list(table.tokens), table.rows(["a", '"#2"']), len(table.population)) == (["#0", "#1", "#2"], [None, 2], 3)
    assert not table.vocabulary.has_words
    assert not table.subset(np.array([2, 0])).vocabulary.has_words
    assert sources.describe(spec).files == ("m.npy",)


def test_describe_reads_the_header(write):
    """Shape, dtype and size are told without the words."""
    described = sources.describe(write(np.ones((3, 2), dtype=np.float16), b"a\n"))
    assert (described.shape, described.dtype, described.bytes) == ((3, 2), "float16", 12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(width=32)))
def test_round_trip(write, array):
    """What was saved is what is read, bit for bit."""
    words = "\n".join(f"w{i}" for i in range(len(array))).encode()
    assert torch.equal(load(write(array, words)).vectors.view(torch.int32), torch.from_numpy(array).view(torch.int32))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 140), st.binary(max_size=12), st.booleans())
def test_damaged_files_are_refused_or_read(write, tmp_path, at, bytes_, cut):
    """Whatever bytes stand in a matrix file, nothing but an embcheck error is raised."""
    spec = write(np.ones((3, 2)), b"a\nb\nc\n")
    good = (tmp_path / "m.npy").read_bytes()
    (tmp_path / "m.npy").write_bytes(good[:at] + bytes_ + (b"" if cut else good[at + len(bytes_) :]))
    try:
        assert load(spec).vectors.shape == (3, 2)
    except EmbcheckError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
