"""Columns of Arrow data as a table: one matrix, filled a batch at a time, and what names its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pyarrow import types

from embcheck.errors import SourceError, SpecError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import local_file, local_path, one_line, refuse_unknown_options
from embcheck.sources.words.lists import is_text, pick_column, vocabulary_of
from embcheck.table.vocabulary import NamedRows, RowNumbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.sources.tokenizers.lookup import LookupVocabulary
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable
    from embcheck.table.vocabulary import WordVocabulary

BATCH_BYTES = 2 * 2**20  # of vectors handled at once: with 16 MB, Arrow held 100 MB more, and took longer
_MOST_ROWS = 2**31
_MOST_NAME_BYTES = 2 * 2**30
_DENSEST = 256  # bytes of vectors that a byte of a file may stand for: more is no compression that vectors have
_ROOM = 2**24  # bytes that any file may stand for
_UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, LookupError, TypeError)
_KINDS = {types.is_float16: "float16", types.is_float32: "float32", types.is_float64: "float64", types.is_int8: "int8"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file a batch of rows begins."""

    path: Path
    start: int
    group: int | None = None

    def row(self, number: int) -> str:
        """What to call one of the batch's rows in an error."""
        return f"{self.path}, {'' if self.group is None else f'row group {self.group}, '}row {self.start + number}"


class Part(Protocol):
    """One file of a store. What is asked of it may raise what Arrow raises at damaged files (`readable`)."""

    path: Path
    schema: pa.Schema

    def count(self, column: str) -> int | None:
        """How many vectors there are at most, as the file says; ``None`` where only reading it would tell."""
        ...

    def width(self, column: str) -> int | None:
        """How many numbers its vectors have, without reading them; ``None`` where it has no rows, or is damaged."""
        ...

    def stored_bytes(self, column: str) -> int | None:
        """How many bytes its vectors take in the file, if it tells."""
        ...

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """At most about so many rows at a time, and where they begin."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a spec asks of a store's columns."""

    vectors: str | None
    names: str | None
    are_texts: bool
    scale: float | None

    @classmethod
    def of(cls, spec: ModelSpec) -> Request:
        """The options; `SpecError` where they make no sense."""
        refuse_unknown_options(spec, "vectors", "words", "texts", "scale")
        words, texts, scale = spec.option("words"), spec.option("texts"), spec.option("scale")
        if words is not None and texts is not None:
            raise SpecError(f"spec {spec.text!r}: rows are named by words= or by texts=; give one of them")
        try:
            factor = None if scale is None else float(scale)
        except ValueError:
            factor = math.nan
        if factor is not None and not (math.isfinite(factor) and factor != 0):
            raise SpecError(f"spec {spec.text!r}: scale {scale!r} is no number to multiply by")
        return cls(spec.option("vectors"), words if texts is None else texts, texts is not None, factor)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a store that are read."""

    vectors: str
    kind: str
    """Of its numbers: float16, float32, float64 or int8."""
    names: str | None
    are_words: bool
    scale: float | None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the matrix: int8 with its scale is float32."""
        return np.dtype("float32" if self.scale is not None else self.kind)


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Have what Arrow raises at a damaged file be one line of ours."""
    try:
        yield
    except _UNREADABLE as error:
        raise SourceError(f"{path} is damaged, or no {what} ({one_line(error)}); write or get it again") from None


def read_parts(spec: ModelSpec, parts: Sequence[Part], what: str) -> EmbeddingTable:
    """The table of all parts' rows, in the order of the parts.

    Raises
    ------
    SourceError
        A file is damaged, or lies about what it holds; vectors are missing or of several widths.
    """
    columns = choose(Request.of(spec), parts)
    names = Names(columns)
    matrix = matrix_of(parts, columns, what, names)
    return table_of(spec, parts, columns, torch.from_numpy(matrix), names)


def matrix_of(parts: Sequence[Part], columns: Columns, what: str, names: Names | None = None) -> NDArray[Any]:
    """(V, d) vectors of all parts' rows, and their names collected on the way, where somebody collects them."""
    filling = _Matrix(columns, _rows(parts, columns) or 0, sum(part.path.stat().st_size for part in parts))
    wanted = [columns.vectors] if names is None or columns.names is None else [columns.vectors, columns.names]
    for part in parts:
        with readable(part.path, what):
            width = part.width(columns.vectors) or 1
            step = max(1, BATCH_BYTES // (width * columns.dtype.itemsize))
            for place, batch in part.batches(wanted, step):
                filling.add(batch.column(columns.vectors), place)
                if names is not None:
                    names.add(batch, place)
    pa.default_memory_pool().release_unused()
    return filling.finish(str(parts[0].path))


def blocks_of(part: Part, columns: Columns, what: str) -> Iterator[NDArray[Any]]:
    """(n, d) vectors of a part, some megabytes at a time."""
    with readable(part.path, what):
        step = max(1, BATCH_BYTES // ((part.width(columns.vectors) or 1) * columns.dtype.itemsize))
        for place, batch in part.batches([columns.vectors], step):
            rows = vectors_of(batch.column(columns.vectors), None, place)
            yield rows.copy() if columns.scale is None else rows * np.float32(columns.scale)  # Arrow's are read-only
    pa.default_memory_pool().release_unused()  # which Arrow else keeps: as much again as a row group


def table_of(spec: ModelSpec, parts: Sequence[Part], columns: Columns, matrix: Tensor, names: Names) -> EmbeddingTable:
    """The table of a matrix and what its rows are called."""
    vocabulary = names.vocabulary(len(matrix))
    scaled = () if columns.scale is None else (f"int8, multiplied by {columns.scale:g}",)
    return assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=sum(part.path.stat().st_size for part in parts),
        tensor=columns.vectors,
        notes=(*scaled, *vocabulary.notes),
    )


def describe_parts(spec: ModelSpec, parts: Sequence[Part], what: str) -> Description:
    """What `read_parts` would read, from what the files say of themselves."""
    columns = choose(Request.of(spec), parts)
    with readable(parts[0].path, what):
        widths = (part.width(columns.vectors) for part in parts)
        width = next((width for width in widths if width is not None), None)
        sizes = [part.stored_bytes(columns.vectors) for part in parts]
    named = "rows without words" if columns.names is None else f"{'words' if columns.are_words else 'texts'} of column "
    return Description(
        tensor=columns.vectors,
        shape=(_rows(parts, columns), width),
        dtype=columns.kind if columns.scale is None else f"{columns.kind} x {columns.scale:g}",
        bytes=None if None in sizes else sum(size for size in sizes if size),
        bytes_total=sum(part.path.stat().st_size for part in parts),
        files=tuple(part.path.name for part in parts),
        population=named if columns.names is None else f"{named}{columns.names}",
    )


def require_room(origin: str, rows: int, width: int, dtype: np.dtype[Any], size: int) -> None:
    """Refuse vectors of which so small a file can't have so many, before memory is taken."""
    if rows > _MOST_ROWS or rows * width * dtype.itemsize > max(_ROOM, _DENSEST * size):
        raise SourceError(
            f"{origin} promises {rows} x {width} vectors of {dtype.name}, more than its {size} bytes can hold; "
            "it is damaged, get it again"
        )


def list_files(spec: ModelSpec, *endings: str) -> list[Path]:
    """The file of a spec, or those of a folder and the folders in it that end so, by path; hidden ones are left out."""
    path = local_path(spec, spec.target)
    if not path.is_dir():
        return [local_file(spec, spec.target)]
    try:
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in endings
            and not any(name.startswith((".", "_")) for name in file.relative_to(path).parts)
        )
    except OSError as error:
        raise SourceError(f"cannot read directory {path}: {one_line(error)}") from None
    if not found:
        raise SourceError(f"spec {spec.text!r}: no {' or '.join(endings)} file is in {spec.target}")
    return found


# --- which columns ----------------------------------------------------------------------------------------------------


def choose(request: Request, parts: Sequence[Part]) -> Columns:
    """The columns, which all parts must have with numbers of one kind."""
    vectors, kind, is_id = request.vectors, "", False
    for part in parts:
        origin = str(part.path)
        with readable(part.path, "file of columns"):
            vectors = pick_column(origin, part.schema, vectors, "vectors", _is_vectors, "vectors")
            own = kind_of(part.schema.field(vectors).type)
            if request.names is not None:
                pick_column(origin, part.schema, request.names, "words", _is_name, "text or whole numbers")
                is_id |= not is_text(part.schema.field(request.names).type)
        if kind and own != kind:
            raise SourceError(f"{origin}: column {vectors!r} holds {own}, in {parts[0].path} {kind}; write one")
        kind = own
    if vectors is None:
        raise SourceError("no file is given")
    origin = f"{parts[0].path}: column {vectors!r} holds {kind}"
    if kind == "int8" and request.scale is None:
        raise SourceError(f"{origin}, which are numbers only with their scale; add scale=NUMBER")
    if kind != "int8" and request.scale is not None:
        raise SourceError(f"{origin}, which have no scale; leave out scale=")
    are_words = request.names is not None and not (request.are_texts or is_id)
    return Columns(vectors, kind, request.names, are_words, request.scale)


def _rows(parts: Iterable[Part], columns: Columns) -> int | None:
    counts = [part.count(columns.vectors) for part in parts]
    return None if None in counts else sum(count for count in counts if count)


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def kind_of(column: pa.DataType) -> str:
    """What the numbers of a column of vectors are (float16, float32, float64, int8); nothing of other columns."""
    column = _storage(column)
    is_list = types.is_list(column) or types.is_large_list(column) or types.is_fixed_size_list(column)
    return next((name for fits, name in _KINDS.items() if is_list and fits(column.value_type)), "")


def _is_vectors(column: pa.DataType) -> bool:
    return bool(kind_of(column))


def _is_name(column: pa.DataType) -> bool:
    return is_text(column) or bool(types.is_integer(column))


# --- what they hold ---------------------------------------------------------------------------------------------------


class _Matrix:
    """The matrix, made as soon as the width is known, and filled in place."""

    def __init__(self, columns: Columns, rows: int, size: int) -> None:
        self._columns, self._rows, self._size = columns, rows, size
        self._matrix: NDArray[Any] | None = None
        self._filled = 0

    def add(self, column: pa.Array, place: Place) -> None:
        """Copy the vectors of a batch behind those that are there."""
        if not len(column):
            return
        width = None if self._matrix is None else self._matrix.shape[1]
        rows = vectors_of(column, width, place)
        if self._matrix is None:
            dtype = self._columns.dtype
            require_room(str(place.path), self._rows, rows.shape[1], dtype, self._size)
            self._matrix = np.empty((self._rows, rows.shape[1]), dtype)
        into = self._matrix[self._filled : self._filled + len(rows)]
        if len(into) < len(rows):
            raise SourceError(f"{place.row(len(into))}: the file has more rows than it says; it is damaged")
        if self._columns.scale is None:
            into[:] = rows
        else:
            np.multiply(rows, np.float32(self._columns.scale), out=into)
        self._filled += len(rows)

    def finish(self, origin: str) -> NDArray[Any]:
        """The rows that were there."""
        if self._matrix is None:
            raise SourceError(f"{origin} has no rows; give a file of vectors")
        return self._matrix[: self._filled]


def vectors_of(column: pa.Array, width: int | None, place: Place) -> NDArray[Any]:
    """(n, width) numbers of a batch's lists, not copied. ``place`` is where they begin."""
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    column.validate(full=True)
    if column.null_count:
        raise SourceError(f"{place.row(_first(column.is_null()))} has no vector; leave such rows out")
    if types.is_fixed_size_list(column.type):
        lengths = np.full(len(column), column.type.list_size)
    else:
        lengths = np.diff(_as_numpy(column.offsets))
    wanted = int(lengths[0]) if width is None else width
    if wanted < 1 or (lengths != wanted).any():
        row = int(np.argmax(lengths != wanted)) if wanted > 0 else 0
        others = f", those before {wanted}" if wanted > 0 else ""
        raise SourceError(f"{place.row(row)} has a vector of {lengths[row]} numbers{others}; all must be as wide")
    numbers = column.flatten()
    if numbers.null_count:
        row = _first(numbers.is_null()) // wanted
        raise SourceError(f"{place.row(row)} has a vector with a number missing; leave such rows out")
    return _as_numpy(numbers).reshape(len(column), wanted)


def _as_numpy(numbers: pa.Array) -> NDArray[Any]:
    """The same memory. ``to_numpy`` imports pandas where that is installed: 40 MB, and half a second."""
    return np.from_dlpack(numbers)


class Texts(Sequence[str]):
    """Texts, or whole numbers as texts, in Arrow's memory: a Python object only of those that are asked for."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """The text of a row, or of several."""
        return str(self._column[row].as_py()) if isinstance(row, int) else [*map(str, self._column[row].to_pylist())]

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.iterchunks():
            yield from map(str, chunk.to_pylist())


class Names:
    """What rows are called, collected batch by batch."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._chunks: list[pa.Array] = []
        self._bytes = 0

    def vocabulary(self, rows: int) -> WordVocabulary | LookupVocabulary | NamedRows:
        """Of so many rows, numbered where nothing names them."""
        if self._columns.names is None:
            return NamedRows(RowNumbers(rows))
        texts = Texts(pa.chunked_array(self._chunks))
        return vocabulary_of(list(texts)) if self._columns.are_words else NamedRows(texts)

    def add(self, batch: pa.RecordBatch, place: Place) -> None:
        """The texts of a batch, or whole numbers."""
        if self._columns.names is None:
            return
        column = batch.column(self._columns.names)
        column.validate(full=True)
        if types.is_dictionary(column.type):
            if is_text(column.type):
                self._count(pc.take(pc.binary_length(column.dictionary), column.indices), place)
            column = column.dictionary_decode()
        elif is_text(column.type):
            self._count(pc.binary_length(column), place)
        if column.null_count:
            raise SourceError(f"{place.row(_first(column.is_null()))} has no word; give every row one")
        self._chunks.append(column.cast(pa.large_string()) if is_text(column.type) else column)

    def _count(self, lengths: pa.Array, place: Place) -> None:
        self._bytes += pc.sum(lengths).as_py() or 0
        if self._bytes > _MOST_NAME_BYTES:
            raise SourceError(
                f"{place.row(0)}: the texts up to here have more than {_MOST_NAME_BYTES} bytes; "
                "name the rows by a column of ids: texts=ID"
            )


def _first(mask: pa.Array) -> int:
    return int(pc.index(mask, value=True).as_py())
