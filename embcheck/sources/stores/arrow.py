"""Vectors in Arrow's own format: ``arrow:FILE_OR_FOLDER,vectors=COLUMN,words=COLUMN``.

A file or a stream (``.arrow``, ``.feather``), or a folder of them, as ``save_to_disk`` of the package datasets writes
one; that package isn't needed. Files are mapped into memory as `LocalBytes` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc, types

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.files import LocalBytes, local_path, printable, read_head, read_json, refuse_disguise
from embcheck.sources.stores.columns import Place, describe_parts, list_files, read_parts, readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_WHAT = "Arrow file or stream"
_FILE, _FEATHER = b"ARROW1", b"FEA1"
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream; without it, one that was cut between two batches reads as whole
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors into one matrix, a batch at a time, and what names the rows."""
    return read_parts(spec, _open(spec), _WHAT)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the batches' headers; of compressed files the first batch is unpacked for it."""
    return describe_parts(spec, _open(spec), _WHAT)


def _open(spec: ModelSpec) -> list[_ArrowPart]:
    folder = local_path(spec, spec.target)
    if (folder / _SPLITS).is_file():
        splits = ", ".join(sorted(path.parent.name for path in folder.glob(f"*/{_STATE}"))) or "none"
        raise SourceError(f"spec {spec.text!r}: a dataset of several splits ({splits}); give the folder of one of them")
    if (folder / _STATE).is_file():
        return [_ArrowPart(path) for path in _saved(folder)]
    return [_ArrowPart(path) for path in list_files(spec, ".arrow", ".feather")]


def _saved(folder: Path) -> list[Path]:
    """The files of a dataset that was saved to disk, in its order."""
    state = read_json(folder / _STATE)
    state = state if isinstance(state, dict) else {}
    if state.get("_indices_data_files"):
        raise SourceError(f"{folder} keeps an order of its rows apart, as old versions of datasets did; save it again")
    listed = state.get("_data_files")
    listed = [file for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    names = [str(file.get("filename")) for file in listed]
    if not names or any("/" in name or "\\" in name for name in names):
        raise SourceError(f"{folder / _STATE} names no files in its own folder; save the dataset again")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SourceError(
            f"{folder} lacks {len(missing)} of its {len(names)} files, such as {printable(missing[0])!r}; get it again"
        )
    return [folder / name for name in names]


class _ArrowPart:
    """One file or stream."""

    def __init__(self, path: Path) -> None:
        refuse_disguise(path)
        head = read_head(path)
        if head.startswith(_FEATHER):
            raise SourceError(f"{path} is of version 1 of feather, which no longer is written; save it again")
        self.path, self._is_file = path, head.startswith(_FILE)
        with readable(path, _WHAT):
            self.schema, self._rows = self._survey()

    def _survey(self) -> tuple[pa.Schema, int]:
        """The schema and the number of rows, from the headers of the batches."""
        schema = self._reader(None).schema
        smallest = next((i for i, field in enumerate(schema) if types.is_primitive(field.type)), 0)
        columns = [smallest] if len(schema) else None  # unpacked, where the file is compressed
        return schema, sum(len(batch) for batch in self._batches(columns))

    def count(self, column: str) -> int | None:  # noqa: ARG002 - a part's
        """The rows of all batches."""
        return self._rows

    def width(self, column: str) -> int | None:
        """How many numbers the first vector has."""
        kind = self.schema.field(column).type
        if types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for batch in self._batches([self.schema.get_field_index(column)]):
            if len(batch):
                batch.column(column).validate(full=True)
                return int(batch.column(column).value_lengths()[0].as_py() or 0) or None
        return None

    def stored_bytes(self, column: str) -> int | None:
        """How many bytes the vectors take: not what they take in a file that is compressed."""
        width = self.width(column)
        kind = self.schema.field(column).type
        return None if width is None else self._rows * width * kind.value_type.bit_width // 8

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """The file's own batches, cut where they are larger."""
        start = 0
        for batch in self._batches(sorted(self.schema.get_field_index(name) for name in columns)):
            for cut in range(0, len(batch), rows):
                yield Place(self.path, start + cut), batch.slice(cut, rows)
            start += len(batch)

    def _reader(self, columns: list[int] | None) -> Any:
        access = LocalBytes(self.path)
        content = access.read(0, access.size)
        if not self._is_file and content[-len(_END) :] != _END:
            raise SourceError(f"{self.path} ends before its stream does; write or get it again")
        source = pa.BufferReader(pa.py_buffer(content))
        options = ipc.IpcReadOptions(included_fields=columns)
        return (ipc.open_file if self._is_file else ipc.open_stream)(source, options=options)

    def _batches(self, columns: list[int] | None) -> Iterator[pa.RecordBatch]:
        reader = self._reader(columns)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if self._is_file else iter(reader)
        for batch in batches:
            files.refuse_changed()
            yield batch
