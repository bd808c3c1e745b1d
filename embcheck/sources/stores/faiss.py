"""A flat index that FAISS wrote: its header, read strictly, and the vectors behind it; faiss itself is not needed.

Vectors begin at an odd address in the file, so that they are copied once where the file is mapped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalBytes, local_file, one_line, refuse_disguise, refuse_unknown_options
from embcheck.sources.weights.stored import Stored, as_tensor
from embcheck.sources.words.lists import read_words, vocabulary_of
from embcheck.spec import NO_VOCABULARY
from embcheck.table.vocabulary import NamedRows, RowNumbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.sources.tokenizers.lookup import LookupVocabulary
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable
    from embcheck.table.vocabulary import WordVocabulary

_FLAT = {b"IxFI": "IndexFlatIP", b"IxF2": "IndexFlatL2", b"IxFl": "IndexFlat"}
_MAPPED = {b"IxMp": "IndexIDMap", b"IxM2": "IndexIDMap2"}
_OTHERS = {
    b"IHNf": "IndexHNSWFlat", b"INSf": "IndexNSGFlat", b"IwFl": "IndexIVFFlat", b"IwPQ": "IndexIVFPQ",
    b"IwSq": "IndexIVFScalarQuantizer", b"IxHe": "IndexLSH", b"IxPT": "IndexPreTransform", b"IxPq": "IndexPQ",
    b"IxRF": "IndexRefineFlat", b"IxSQ": "IndexScalarQuantizer",
}  # fmt: skip
_HEADER = struct.Struct("<iq17xi")  # width, rows, 17 bytes of no use here, the metric


@dataclass(frozen=True, slots=True)
class _Index:
    """A flat index by its header, and the ids of its rows where it has any."""

    access: LocalBytes
    kind: str
    rows: int
    width: int
    start: int
    """Where the vectors begin."""
    ids: NDArray[np.int64] | None


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors, under their ids or, with ``vocab=FILE``, under the word that the file has at a row's id."""
    index = _open(spec)
    stored = Stored(index.kind, index.access.name, (index.rows, index.width), "F32")
    matrix = as_tensor(index.access.read(index.start, stored.nbytes), stored)
    vocabulary = _vocabulary(spec, index)
    return assemble(
        spec, matrix, vocabulary, bytes_read=stored.nbytes, tensor=index.kind, notes=tuple(vocabulary.notes)
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the headers."""
    index = _open(spec)
    return Description(
        tensor=index.kind,
        shape=(index.rows, index.width),
        dtype="float32",
        bytes=index.rows * index.width * 4,
        bytes_total=index.access.size,
        population="rows without words" if spec.option("vocab") in {None, "none"} else None,
    )


def _vocabulary(spec: ModelSpec, index: _Index) -> WordVocabulary | LookupVocabulary | NamedRows:
    vocab = spec.option("vocab")
    if vocab is None or ("vocab", vocab) == NO_VOCABULARY:
        return NamedRows(RowNumbers(index.rows) if index.ids is None else list(map(str, index.ids.tolist())))
    path = local_file(spec, vocab)
    words = read_words(path, column=spec.option("column"))
    if index.ids is None:
        if len(words) != index.rows:
            raise SourceError(f"{index.access.name} has {index.rows} rows but {path} has {len(words)} words")
        return vocabulary_of(words)
    if index.ids.min() < 0 or index.ids.max() >= len(words):
        raise SourceError(
            f"{index.access.name} has ids from {index.ids.min()} to {index.ids.max()}, but {path} has {len(words)} "
            "words; give one for each id from 0"
        )
    return vocabulary_of([words[i] for i in index.ids.tolist()])


def _open(spec: ModelSpec) -> _Index:
    """The flat index, alone or in a map of ids; the file must end where it does."""
    refuse_unknown_options(spec, "vocab", "column")
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    access = LocalBytes(path)
    kind, shape, at = _read_header(access, 0)
    outer = shape if kind in _MAPPED else None
    if outer is not None:
        kind, shape, at = _read_header(access, at)
    if kind not in _FLAT:
        raise _other_error(access, kind)
    (rows, width), count = shape, _read_count(access, at)
    if min(shape) < 1 or count != rows * width or outer not in {None, shape}:
        raise SourceError(
            f"{access.name} promises {rows} x {width} numbers and holds {count}; it is empty or damaged, write it again"
        )
    end, ids = at + 8 + 4 * count, None
    if outer is not None:
        if (named := _read_count(access, end)) != rows:
            raise SourceError(f"{access.name} has {named} ids for {rows} rows; it is damaged, write it again")
        ids = np.frombuffer(access.read(end + 8, 8 * rows), "<i8")
        end += 8 + 8 * rows
    if end != access.size:
        raise SourceError(f"{access.name} has {access.size} bytes, not the {end} of its index; write it again")
    return _Index(access, _FLAT[kind], rows, width, at + 8, ids)


def _read_header(access: LocalBytes, at: int) -> tuple[bytes, tuple[int, int], int]:
    """Kind of an index, its rows and width, and where the header ends."""
    kind = bytes(access.read(at, 4))
    if kind not in _MAPPED and kind not in _FLAT:
        raise _other_error(access, kind)
    width, rows, metric = _HEADER.unpack(access.read(at + 4, _HEADER.size))
    return kind, (rows, width), at + 4 + _HEADER.size + (4 if metric > 1 else 0)  # such metrics have a parameter


def _read_count(access: LocalBytes, at: int) -> int:
    return int.from_bytes(access.read(at, 8), "little")


def _other_error(access: LocalBytes, kind: bytes) -> SourceError:
    """Other kinds of indexes hold no vectors as they were, or hold them among other things."""
    name = _OTHERS.get(kind)
    if name is None and not kind.isalnum():
        return SourceError(f"{access.name} is no index of FAISS; write it with faiss.write_index")
    return SourceError(
        f"{access.name} is an {name or one_line(kind.decode('ascii', 'replace'))}, of which no vectors are read; write "
        "its vectors with numpy.save(FILE, index.reconstruct_n(0, index.ntotal)), in an IVF after "
        "index.make_direct_map(), and give npy:FILE,vocab=none"
    )
