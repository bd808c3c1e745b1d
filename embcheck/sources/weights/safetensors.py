"""A safetensors file that nobody vouches for: its header, checked, and one tensor of it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files import disguise, one_line, printable
from embcheck.sources.weights.stored import BITS, Stored, as_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.sources.files import JsonObject, RandomAccess

_LENGTH_BYTES = 8
_LARGEST_HEADER = 25 * 2**20
_MOST_MARKS = 2**20  # of JSON, of each kind: keeps what is parsed small, and is enough for 100,000 tensors
_MOST_DIMENSIONS = 16


class SafetensorsFile:
    """The tensors of a file. Only its header is read here."""

    notes: tuple[str, ...] = ()

    def __init__(self, access: RandomAccess, file: str) -> None:
        self._access = access
        header, self._start = self._read_header()
        self.tensors: dict[str, Stored] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        for name, entry in header.items():
            if name != "__metadata__":
                self.tensors[name], self._ranges[name] = self._entry(name, file, entry)
        self._check_ranges()

    def load(self, stored: Stored) -> Tensor:
        """The numbers of one tensor, memory-mapped where the file is."""
        start, stop = self._ranges[stored.name]
        return as_tensor(self._access.read(self._start + start, stop - start), stored)

    def _read_header(self) -> tuple[JsonObject, int]:
        size = self._access.size
        if size < _LENGTH_BYTES:
            raise self._malformed_error("it is too short for a header")
        length = int.from_bytes(self._access.read(0, _LENGTH_BYTES), "little")
        if length > min(_LARGEST_HEADER, size - _LENGTH_BYTES):
            raise self._malformed_error(f"its header would take {length} bytes")
        raw = bytes(self._access.read(_LENGTH_BYTES, length))
        if max(raw.count(mark) for mark in (b'"', b"[", b"{", b",")) > _MOST_MARKS:
            raise self._malformed_error("its header lists more tensors than any model has")
        try:
            header = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise self._malformed_error(f"its header is no JSON: {one_line(error)}") from None
        if not isinstance(header, dict):
            raise self._malformed_error("its header is no JSON object")
        return header, _LENGTH_BYTES + length

    def _entry(self, name: str, file: str, entry: Any) -> tuple[Stored, tuple[int, int]]:
        """One tensor of the header, with where its bytes begin and end."""
        fields = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = fields.get("dtype"), _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
        if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
            raise self._malformed_error(f"tensor {printable(name)} has no dtype, shape and data_offsets")
        start, stop = offsets
        if dtype in BITS and math.prod(shape) * BITS[dtype] != (stop - start) * 8:
            raise self._malformed_error(f"tensor {printable(name)} {shape} {dtype} can't take {stop - start} bytes")
        return Stored(name, file, tuple(shape), dtype), (start, stop)

    def _check_ranges(self) -> None:
        """Tensors follow each other to the end of the file, as the format asks."""
        end = 0
        for start, stop in sorted(self._ranges.values()):
            if start != end or stop < start:
                raise self._malformed_error("its tensors overlap or leave holes")
            end = stop
        if self._start + end != self._access.size:
            raise self._malformed_error(f"its header asks for {self._start + end} bytes")

    def _malformed_error(self, why: str) -> SourceError:
        name, size = self._access.name, self._access.size
        if (it := disguise(bytes(self._access.read(0, min(size, 512))))) is not None:
            return SourceError(f"{name} is {it}")
        return SourceError(f"{name} ({size} bytes) is truncated or not a safetensors file ({why}); download it again")


def _counts(values: Any) -> list[int] | None:
    """A list of sizes or offsets, ``None`` for anything else."""
    if not isinstance(values, list) or len(values) > _MOST_DIMENSIONS:
        return None
    return values if all(type(value) is int and 0 <= value < 2**63 for value in values) else None
