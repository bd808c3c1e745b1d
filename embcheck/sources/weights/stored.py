"""Tensors as files of weights store them: name, shape, number type, and bytes made into numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from embcheck.sources.files import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from embcheck.sources.files import JsonObject

FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "C128": 128,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip

_OTHER_NUMBERS = {  # those that make a matrix together with others; U32 is bits, which torch has few operations on
    "U8": "uint8", "I8": "int8", "I32": "int32", "U32": "int32", "I64": "int64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file: ``dtype`` as safetensors writes it, such as ``BF16``."""

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        count = 1
        for side in self.shape:
            count *= side
        return count * BITS.get(self.dtype, 8) // 8

    def __str__(self) -> str:
        """Name, shape and dtype, as error messages list candidates."""
        return f"{printable(self.name)} {list(self.shape)} {printable(self.dtype)}"


class TensorStore(Protocol):
    """The tensors of a model by name, of which only shapes are known until one is read."""

    @property
    def origin(self) -> str:
        """What the model is called in error messages."""
        ...

    @property
    def config(self) -> JsonObject:
        """What the model says of itself, in the words of a config.json; empty where it says nothing."""
        ...

    @property
    def names(self) -> Collection[str]:
        """All tensors."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of those that `read` has read so far."""
        ...

    @property
    def may_drop_copies(self) -> bool:
        """Whether a matrix under two names may be there under one of them only, as in files."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        ...

    def refusal(self, name: str) -> str | None:
        """Why a tensor's numbers can't be read as floats, ``None`` where they can."""
        ...

    def read(self, name: str) -> Tensor:
        """A matrix whose numbers can be read, once; `SourceError` where the file is damaged."""
        ...


class TensorFile(Protocol):
    """A file of weights, of which only the header has been read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its tensors should know."""
        ...

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """What it holds, by name."""
        ...

    def load(self, stored: Stored) -> Tensor:
        """The numbers of one matrix, memory-mapped where the file is."""
        ...


def as_tensor(view: memoryview, stored: Stored, strides: tuple[int, ...] | None = None) -> Tensor:
    """Make a tensor of little-endian bytes, without a copy where they are aligned and writable.

    ``strides`` count numbers from one row, and one column, to the next; by default rows follow each other.
    """
    dtype = getattr(torch, FLOATS.get(stored.dtype) or _OTHER_NUMBERS[stored.dtype])
    octets = np.frombuffer(view, dtype=np.uint8)
    if octets.ctypes.data % dtype.itemsize or not octets.flags.writeable:
        octets = octets.copy()
    flat = torch.from_numpy(octets).view(dtype)
    return flat.view(stored.shape) if strides is None else flat.as_strided(stored.shape, strides)
