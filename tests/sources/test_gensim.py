"""Files of gensim's and fastText's: read as data, equal to what gensim itself says."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.sources.weights import pickled_objects
from embcheck.spec import parse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("gensim", reason="gensim writes the files that these tests read")
    from gensim.models import FastText, KeyedVectors, Word2Vec
    from gensim.models.fasttext import load_facebook_vectors, save_facebook_model
    from gensim.models.poincare import PoincareModel

SENTENCES = [["human", "größe", "interface", "日本"], ["survey", "human", "trees"], ["trees", "graph", "größe"]] * 3
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def word2vec():
    """A small model."""
    return Word2Vec(SENTENCES, vector_size=6, min_count=1, seed=1, workers=1)


@pytest.fixture(scope="module")
def fasttext():
    """A small model with n-grams."""
    return FastText(SENTENCES, vector_size=6, min_count=1, seed=1, workers=1, bucket=50, min_n=1, max_n=4)


def load(path):
    return sources.load(parse(f"gensim:{path}"), device="cpu")


def same(table, vectors):
    return table.tokens == vectors.index_to_key and np.allclose(table.vectors.numpy(), vectors.vectors, atol=1e-6)


@pytest.mark.parametrize("apart", [{}, {"sep_limit": 10}], ids=["one file", "arrays beside"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_word_vectors_are_read_as_gensim_reads_them(tmp_path, word2vec, apart, protocol):
    """Words and vectors of ``.kv`` and ``.model`` files are gensim's own, wherever the arrays are kept."""
    word2vec.save(str(tmp_path / "a.model"), pickle_protocol=protocol, **apart)
    word2vec.wv.save(str(tmp_path / "a.kv"), pickle_protocol=protocol, **apart)
    for name in ("a.model", "a.kv"):
        table = load(tmp_path / name)
        assert same(table, word2vec.wv)
        assert table.provenance.notes == ()
        assert sources.describe(parse(f"gensim:{tmp_path / name}")).shape == table.provenance.shape


@pytest.mark.parametrize("apart", [{}, {"sep_limit": 10}], ids=["one file", "arrays beside"])
def test_composed_vectors_are_gensims(tmp_path, fasttext, apart):
    """What gensim leaves out of a fastText model and composes when it loads it is composed the same, and labelled."""
    fasttext.save(str(tmp_path / "a.model"), **apart)
    fasttext.wv.save(str(tmp_path / "a.kv"), **apart)
    for name in ("a.model", "a.kv"):
        table = load(tmp_path / name)
        assert same(table, fasttext.wv)
        assert table.provenance.notes[0].startswith("composed")


def test_fasttext_bins_are_composed_as_gensim_composes_them(tmp_path, fasttext):
    """A ``.bin`` model's vectors are those that gensim's reader of fastText files makes of it."""
    path = tmp_path / "a.bin"
    save_facebook_model(fasttext, str(path))
    table = load(path)
    assert same(table, load_facebook_vectors(str(path)))
    assert table.provenance.notes[0].startswith("composed")
    assert sources.describe(parse(f"gensim:{path}")).shape == table.provenance.shape


def test_no_ngrams_no_composition(tmp_path):
    """Without buckets a word's vector is its own."""
    model = FastText(SENTENCES, vector_size=6, min_count=1, seed=1, workers=1, max_n=0)
    model.wv.save(str(tmp_path / "a.kv"))
    assert same(load(tmp_path / "a.kv"), model.wv)


def test_vectors_that_a_model_calls_kv_are_read(tmp_path):
    """A Poincare model keeps its vectors under another name than the others, and they are read from there."""
    model = PoincareModel([("a", "b"), ("b", "c"), ("a", "c")], size=3, negative=1, seed=1)
    model.save(str(tmp_path / "a.model"))
    assert same(load(tmp_path / "a.model"), model.kv)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickles_are_not_run(tmp_path, word2vec):
    """A pickle that calls anything is refused by name, and what it calls is not called."""
    flag = tmp_path / "ran"
    for number, held in enumerate([Hostile(flag), {"index_to_key": ["a"], "vectors": Hostile(flag)}]):
        path = tmp_path / f"{number}.kv"
        path.write_bytes(pickle.dumps(held, protocol=4))
        with pytest.raises(SourceError, match=r"system.*save_word2vec_format"):
            load(path)
    assert not flag.exists()


GLOBAL = b"\x80\x04cgensim.models.keyedvectors\nKeyedVectors\n)\x81}"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04]" + b"]a" * 50 + b".",
        b"\x80\x04" + b"]" * 1001 + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x",
        b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"x",
        b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x04cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04cgensim." + b"a" * 2**20,
        b"\x80\x04P1\n.",
        b"\x80\x04NQ.",
        GLOBAL + b"b.",
        GLOBAL + b"\x8c\x0cindex_to_key]\x8c\x01aas\x8c\x07vectorsK\x07sb.",
        GLOBAL + b"\x8c\x0cindex_to_key]\x8c\x01aas\x8c\x08__numpys]\x8c\x07vectorsasb.",
        b"\x1f\x8bxx",
        b"<html>",
        b"word 1 2 3\n",
    ],
)
def test_malformed_pickles_are_refused(tmp_path, monkeypatch, content):
    """Whatever is no model of gensim's ends in one line."""
    monkeypatch.setattr(pickled_objects, "_MOST_CONTAINERS", 1000)
    path = tmp_path / "a.kv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"^[^\n]+$"):
        load(path)


@pytest.fixture(scope="module")
def written(tmp_path_factory, word2vec, fasttext):
    """The bytes of one file of each kind."""
    folder = tmp_path_factory.mktemp("written")
    word2vec.wv.save(str(folder / "a.kv"))
    fasttext.wv.save(str(folder / "b.kv"))
    save_facebook_model(fasttext, str(folder / "c.bin"))
    return [(folder / name).read_bytes() for name in ("a.kv", "b.kv", "c.bin")]


def test_a_frame_longer_than_the_file_is_refused(tmp_path, word2vec):
    """Python's own reader takes a frame whole: one that ends past the file is of a damaged file."""
    content = bytearray(pickle.dumps(word2vec.wv, protocol=4))
    assert content[2:3] == pickle.FRAME
    struct.pack_into("<Q", content, 3, struct.unpack_from("<Q", content, 3)[0] + 1_000_000)
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(bytes(content))  # noqa: S301 - its own, damaged
    (tmp_path / "a.kv").write_bytes(content)
    with pytest.raises(SourceError, match="truncated or no pickle"):
        load(tmp_path / "a.kv")


@FEW
@given(data=st.data())
def test_damaged_files_are_refused_or_read(tmp_path, written, data):
    """A file with bytes changed or cut off is read or refused as malformed; nothing else comes of it."""
    content = bytearray(data.draw(st.sampled_from(written)))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(len(content), 900) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a"
    path.write_bytes(content[: data.draw(st.integers(2, len(content)))])
    with contextlib.suppress(SourceError):
        load(path)


@pytest.mark.parametrize(("at", "value"), [(4, 11), (8, -1), (8, 2**30), (40, 2**30), (48, 10**6), (64, 2**31 - 1)])
def test_fasttext_headers_are_checked_before_anything_is_allocated(tmp_path, written, at, value):
    """A header that promises more than the file holds is refused."""
    content = bytearray(written[2])
    struct.pack_into("<i", content, at, value)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"^[^\n]+$"):
        load(path)


def test_a_missing_array_is_named(tmp_path):
    """Where gensim keeps vectors in a second file and it is missing, the message names it."""
    vectors = KeyedVectors(3)
    vectors.add_vectors(["a", "b"], np.ones((2, 3), dtype=np.float32))
    vectors.save(str(tmp_path / "a.kv"), sep_limit=1)
    Path(tmp_path / "a.kv.vectors.npy").unlink()
    with pytest.raises(SourceError, match=r"a\.kv\.vectors\.npy"):
        load(tmp_path / "a.kv")
