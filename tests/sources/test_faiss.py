"""Flat indexes of FAISS, by hand and by FAISS itself."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from written import faiss_flat, faiss_header

from embcheck import sources
from embcheck.errors import SourceError
from embcheck.spec import parse

VECTORS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
WORDS = ["cat", "dog", "cow", "hen", "pig", "owl"]


def load(spec):
    return sources.load(spec, device="cpu")


@pytest.mark.parametrize("ids", [None, [9, 7, 2**40, 1, -3]])
def test_vectors_are_read_under_their_ids(write_spec, ids):
    """Vectors are read bit for bit; a map of ids around the index names the rows, which no word leads to."""
    spec = write_spec("faiss", faiss_flat(VECTORS, ids=ids), "m.faiss")
    table, described = load(spec), sources.describe(spec)
    assert table.vectors.numpy().tobytes() == VECTORS.tobytes()
    assert list(table.tokens) == ([f"#{row}" for row in range(5)] if ids is None else list(map(str, ids)))
    assert not table.vocabulary.has_words
    assert (described.shape, described.bytes) == ((5, 3), VECTORS.nbytes)


@pytest.mark.parametrize(("ids", "words", "rows"), [(None, WORDS[:5], [0, 4]), ([5, 4, 0, 2, 1], WORDS, [2, 1])])
def test_a_list_names_rows_by_their_ids(write_spec, tmp_path, ids, words, rows):
    """A list of words has one for each id from 0, and one for each row where there are no ids."""
    (tmp_path / "words.txt").write_text("\n".join(words))
    spec = write_spec("faiss", faiss_flat(VECTORS, ids=ids), "m.faiss")
    assert load(parse(f"{spec.text},vocab={tmp_path / 'words.txt'}")).rows(["cat", "pig"]) == rows


@pytest.mark.parametrize(
    ("ids", "count", "message"),
    [(None, 4, "4 words"), ([0, 1, 2, 3, 6], 6, "ids from 0 to 6"), ([-1] * 5, 6, "from -1")],
)
def test_a_list_that_does_not_fit_is_refused(write_spec, tmp_path, ids, count, message):
    """A list with too few words, or ids that are no places in it, are refused with both numbers."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS[:count]))
    spec = write_spec("faiss", faiss_flat(VECTORS, ids=ids), "m.faiss")
    with pytest.raises(SourceError, match=message):
        load(parse(f"{spec.text},vocab={tmp_path / 'words.txt'}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (faiss_flat(VECTORS) + b"\0", "106 bytes, not the 105"),
        (faiss_flat(VECTORS)[:-1], "not the 105"),
        (faiss_flat(VECTORS, ids=[1, 2]), "2 ids for 5 rows"),
        (faiss_flat(VECTORS[:0]), "0 x 3"),
        (faiss_header(b"IxF2", VECTORS) + struct.pack("<Q", 2**62), "holds 4611686018427387904"),
        (faiss_header(b"IxMp", VECTORS) + faiss_flat(VECTORS[:4]), "promises 4 x 3"),
        (faiss_header(b"IxMp", VECTORS) * 2, "IxMp, of which no vectors"),
        (faiss_header(b"IHNf", VECTORS), "IndexHNSWFlat.*reconstruct_n.*vocab=none"),
        (faiss_header(b"IxMp", VECTORS) + faiss_header(b"IxSQ", VECTORS), "IndexScalarQuantizer"),
        (b"\x1f\x8b12345", "gunzip"),
        (b"\n\n\n\n" * 9, "no index of FAISS"),
        (b"IxF2", "truncated"),
    ],
)
def test_other_files_are_refused(write_spec, content, message):
    """Damaged files and indexes that keep something else than vectors are refused by name."""
    with pytest.raises(SourceError, match=message):
        load(write_spec("faiss", content, "m.faiss"))


def test_faiss_writes_what_is_read(tmp_path):
    """Flat indexes of each metric that FAISS wrote, with ids and without, are read as FAISS has them."""
    faiss = pytest.importorskip("faiss")
    path = tmp_path / "m.faiss"
    for metric in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2, faiss.METRIC_L1, faiss.METRIC_Lp):
        index = faiss.IndexFlat(3, metric)
        index.add(VECTORS)
        faiss.write_index(index, str(path))
        assert load(parse(f"faiss:{path}")).vectors.numpy().tobytes() == VECTORS.tobytes()
    for kind in (faiss.IndexIDMap, faiss.IndexIDMap2):
        index = kind(faiss.IndexFlatIP(3))
        index.add_with_ids(VECTORS, np.array([3, 1, 4, 15, 9]))
        faiss.write_index(index, str(path))
        table = load(parse(f"faiss:{path}"))
        assert (table.vectors.numpy().tobytes(), list(table.tokens)) == (VECTORS.tobytes(), ["3", "1", "4", "15", "9"])


@pytest.mark.parametrize("factory", ["HNSW4", "IVF1,Flat", "SQ8", "SQfp16", "LSH", "PCA2,Flat", "Flat,RFlat"])
def test_other_indexes_of_faiss_are_named(tmp_path, factory):
    """An index of another kind is refused by the name that FAISS has for it."""
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(4, factory)
    vectors = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "m.faiss"))
    with pytest.raises(SourceError, match=f"is an {type(index).__name__.removesuffix('Refine')}"):
        load(parse(f"faiss:{tmp_path / 'm.faiss'}"))
