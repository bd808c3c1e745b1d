"""Vectors in JSON lines: ``jsonl:FILE_OR_FOLDER,vectors=KEY,words=KEY``, one object a line. Numbers become float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
from pyarrow import json

from embcheck.errors import SourceError
from embcheck.sources.files import one_line, read_head, refuse_disguise
from embcheck.sources.stores.columns import Place, describe_parts, list_files, read_parts, readable
from embcheck.sources.words import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_WHAT = "file of JSON lines"


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors into one matrix, some megabytes of lines at a time, and what names the rows."""
    return read_parts(spec, [_JsonPart(path, counted=True) for path in _paths(spec)], _WHAT)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the first line; only reading it all would tell how many rows there are."""
    return describe_parts(spec, [_JsonPart(path, counted=False) for path in _paths(spec)], _WHAT)


def _paths(spec: ModelSpec) -> list[Path]:
    return list_files(spec, ".jsonl", ".ndjson")


class _JsonPart:
    """One file, whose first line says what keys there are."""

    def __init__(self, path: Path, *, counted: bool) -> None:
        refuse_disguise(path)
        self.path = path
        self._skip = len(text.BOM) if read_head(path).startswith(text.BOM) else 0
        self._rows = text.count_lines(path, skip=self._skip) if counted else None
        lines = (line for _, block in text.line_blocks(path, self._skip) for line in block.split(b"\n"))
        try:
            first = msgspec.json.decode(next(filter(bytes.strip, lines), b""))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: line 1 is no JSON ({one_line(error)}); write an object a line") from None
        if not isinstance(first, dict):
            raise SourceError(f"{path}: line 1 is no JSON object; write an object a line")
        self._first = first
        with readable(path, _WHAT):
            self.schema = pa.schema([(name, _type_of(value)) for name, value in first.items()])

    def count(self, column: str) -> int | None:  # noqa: ARG002 - a part's
        """As many as the file has lines."""
        return self._rows

    def width(self, column: str) -> int | None:
        """How many numbers the first vector has."""
        return len(self._first[column])

    def stored_bytes(self, column: str) -> int | None:  # noqa: ARG002 - a part's
        """Nobody says."""
        return None

    def batches(self, columns: Sequence[str], _: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """Some megabytes of lines at a time."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        parse = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        start = 0
        for line, block in text.line_blocks(self.path, self._skip):
            if not block.strip():
                continue
            try:
                options = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
                table = json.read_json(pa.BufferReader(block), options, parse)
            except pa.ArrowInvalid as error:
                raise SourceError(
                    f"{self.path}, in the lines from {line} on, does not go on as it began ({one_line(error)}); "
                    "correct it or get it again"
                ) from None
            for batch in table.to_batches():
                yield Place(self.path, start), batch
                start += len(batch)


def _type_of(value: object) -> pa.DataType:
    """The Arrow type of a key's values, by the first."""
    if isinstance(value, list) and value and all(type(number) in {int, float} for number in value):
        return pa.list_(pa.float32())
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), type(None): pa.null()}
    return kinds.get(type(value), pa.list_(pa.null()) if isinstance(value, list) else pa.struct([]))
