"""Word vectors of a spaCy model or vectors folder; spaCy itself is asked only for the names of its own symbols.

``vectors`` is a NumPy matrix, ``key2row`` a msgpack map of a word's hash to its row, ``strings.json`` the words. Many
words may share a row, as `Vocab.prune_vectors` has them do: a row is called by the first, and each of them leads to it.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import local_path, one_line, printable, read_json, refuse_unknown_options
from embcheck.sources.words.npy import map_matrix, open_matrix
from embcheck.table.vocabulary import RowStatus, WordVocabulary, is_uncased
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_LARGEST = 2**30
_LONGEST_WORD = 1024  # bytes; longer texts of strings.json are no words
_MULTIPLIER, _SHIFT, _SEED = np.uint64(0xC6A4A7935BD1E995), np.uint64(47), 1  # MurmurHash64A, as spaCy calls it


def read(spec: ModelSpec) -> EmbeddingTable:
    """Map the matrix into memory, and find the words that lead to its rows."""
    folder = _find(spec)
    matrix = open_matrix(folder / "vectors")
    keys, rows = _read_rows(folder, len(matrix))
    texts, notes = _read_words(folder, keys)
    vocabulary = SharedRows(texts, rows, len(matrix))
    tensor = torch.from_numpy(np.require(matrix, dtype=matrix.dtype.newbyteorder("="), requirements="C"))
    return assemble(
        spec, tensor, vocabulary, bytes_read=tensor.nbytes, tensor="vectors", notes=(*notes, *vocabulary.notes)
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the matrix's header."""
    folder = _find(spec)
    matrix = map_matrix(folder / "vectors")
    parts = [path for name in ("vectors", "key2row", "strings.json") if (path := folder / name).is_file()]
    return Description(
        tensor="vectors",
        shape=matrix.shape,
        dtype=matrix.dtype.name,
        bytes=matrix.nbytes,
        bytes_total=sum(path.stat().st_size for path in parts),
        files=tuple(path.name for path in parts),
        folder=str(folder),
    )


class SharedRows(WordVocabulary):
    """Words that each lead to a row, which others may lead to as well; a row is called by the first of its words."""

    def __init__(self, words: Sequence[str | None], rows: NDArray[np.int64], count: int) -> None:
        names = [""] * count
        self._row_of: dict[str, int] = {}
        for word, row in zip(words, rows.tolist(), strict=True):
            if word is not None:
                names[row] = names[row] or word
                self._row_of.setdefault(word, row)
        super().__init__(names, may_repeat=True)
        self._nameless = np.array([row for row, name in enumerate(names) if not name], dtype=np.int64)
        shared = len(self._row_of) - count + len(self._nameless)
        if shared > 0:
            self.notes += (f"{len(self._row_of)} words lead to {counted(count, 'rows')}",)
        if len(self._nameless):
            left_out = counted(len(self._nameless), "rows, which are left out", "row, which is left out")
            self.notes += (f"no word leads to {left_out}",)

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row."""
        status = super().status
        status[self._nameless] = RowStatus.UNREACHABLE
        return status

    @cached_property
    def _rows(self) -> dict[str, int]:
        return self._row_of

    @cached_property
    def _uncased(self) -> bool:
        return is_uncased(self._row_of)


def _find(spec: ModelSpec) -> Path:
    """The folder of the vectors: the one given, its ``vocab``, or that of the only model in it, as in a package."""
    refuse_unknown_options(spec)
    path = local_path(spec, spec.target)
    nested = sorted(path.glob("*/vocab")) if path.is_dir() else []
    folders: list[Path] = [path, path / "vocab", *(nested if len(nested) == 1 else [])]
    for folder in folders:
        if (folder / "vectors").is_file():
            _refuse_floret(folder)
            return folder
    raise SourceError(
        f"spec {spec.text!r}: {spec.target} holds no vocab/vectors; give the folder that nlp.to_disk "
        "(or nlp.vocab.vectors.to_disk) wrote"
    )


def _refuse_floret(folder: Path) -> None:
    """Refuse vectors of pieces of words, of which each word is composed."""
    path = folder / "vectors.cfg"
    settings = read_json(path) if path.is_file() else {}
    mode = settings.get("mode", "default") if isinstance(settings, dict) else None
    if mode != "default":
        raise SourceError(
            f"{path}: the vectors are of mode {printable(one_line(mode))}, whose rows are no words' own; save those of "
            "words with numpy.save(FILE, numpy.stack([nlp.vocab[word].vector for word in words])) and give npy:FILE"
        )


def _read_rows(folder: Path, count: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of words and their rows, in the order of the file."""
    path = folder / "key2row"
    try:
        row_of = msgspec.msgpack.decode(files.read(path, most=_LARGEST), type=dict[int, int])
        keys = np.fromiter(row_of.keys(), np.uint64, len(row_of))
        rows = np.fromiter(row_of.values(), np.int64, len(row_of))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise SourceError(f"{path} is no map of hashes to rows ({one_line(error)}); get it again") from None
    if not len(rows):
        raise SourceError(f"{path} names no rows: small models (sm) have no vectors; give one that has (md, lg)")
    if rows.min() < 0 or rows.max() >= count:
        raise SourceError(
            f"{path} names rows from {rows.min()} to {rows.max()}, but {folder / 'vectors'} has {count}; get both again"
        )
    return keys, rows


def _read_words(folder: Path, keys: NDArray[np.uint64]) -> tuple[list[str | None], tuple[str, ...]]:
    """The word of each key, with a note on those that are not in ``strings.json``."""
    path = folder / "strings.json"
    texts = read_json(path)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise SourceError(f"{path} is no list of words; get it again")
    try:
        hashes = hash_words(texts)
    except UnicodeEncodeError as error:
        raise SourceError(f"{path} holds a text that is no Unicode ({one_line(error)}); get it again") from None
    order = np.argsort(hashes)
    at = order.take(np.searchsorted(hashes, keys, sorter=order), mode="clip")
    is_known = (hashes[at] == keys) & (keys != 0)
    symbols = {} if is_known.all() else _symbols()
    words = [
        texts[i] if known else symbols.get(key)
        for i, known, key in zip(at.tolist(), is_known.tolist(), keys.tolist(), strict=True)
    ]
    unknown = words.count(None)
    if unknown == len(words):
        raise SourceError(f"{path} has none of the words that key2row names rows of; get both again")
    left_out = counted(unknown, "words are left out", "word is left out")
    why = "names of spaCy's own (pip install spacy tells them), or lost ones"
    return words, (f"{left_out}: {why}",) if unknown else ()


def _symbols() -> dict[int, str]:
    """Names of the words that spaCy keeps by a number of its own (``DATE`` is 391), where spaCy is installed."""
    try:
        names: dict[str, int] = importlib.import_module("spacy.symbols").IDS
    except (ImportError, ValueError, AttributeError):  # ValueError: it was built for another NumPy
        return {}
    return {number: name for name, number in names.items() if name}


def hash_words(words: Sequence[str]) -> NDArray[np.uint64]:
    """(n,) MurmurHash64A of each text in UTF-8, by which spaCy knows words; 0 for those that are too long for words.

    Texts of as many blocks of eight bytes are hashed together. Source: A. Appleby, MurmurHash2 (public domain).
    """
    encoded = [word.encode() for word in words]
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    blocks = -(-sizes // 8)
    hashes = np.zeros(len(encoded), np.uint64)
    for count in np.unique(blocks[sizes <= _LONGEST_WORD]).tolist():
        rows = np.flatnonzero(blocks == count)
        raw = b"".join(encoded[row].ljust(8 * count, b"\0") for row in rows.tolist())
        hashes[rows] = _murmur(np.frombuffer(raw, "<u8").reshape(len(rows), count), sizes[rows])
    return hashes


def _murmur(words: NDArray[Any], sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(n,) hashes of n texts of so many bytes, padded with zeros to the same number of blocks."""
    hashes = np.uint64(_SEED) ^ (sizes.astype(np.uint64) * _MULTIPLIER)
    for at in range(words.shape[1]):
        block = words[:, at].astype(np.uint64)
        mixed = block * _MULTIPLIER
        mixed = (mixed ^ (mixed >> _SHIFT)) * _MULTIPLIER
        is_whole = sizes >= 8 * (at + 1)  # what is left over, fewer than eight bytes, is not mixed
        hashes = (hashes ^ np.where(is_whole, mixed, block)) * _MULTIPLIER
    hashes = (hashes ^ (hashes >> _SHIFT)) * _MULTIPLIER
    return hashes ^ (hashes >> _SHIFT)
