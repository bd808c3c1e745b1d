"""The tensors of a GGUF file: number types with their block sizes, and bytes as numbers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from embcheck.errors import SourceError
from embcheck.sources.files import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.sources.files import RandomAccess

_BLOCK_BYTES = 16 * 2**20  # of float32 rows dequantized at once
_LARGEST_BYTES = 64 * 2**30
_PLAIN = {
    "F32": (np.float32, torch.float32),
    "F16": (np.float16, torch.float16),
    "BF16": (np.int16, torch.bfloat16),
    "F64": (np.float64, torch.float64),
}


class NumberType(NamedTuple):
    """A type of numbers: ``block`` of them take ``size`` bytes."""

    name: str
    block: int
    size: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: ``shape`` with rows first, ``start`` in bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    kind: NumberType
    start: int
    nbytes: int

    def __str__(self) -> str:
        """Name, shape and type, as error messages list candidates."""
        return f"{printable(self.name)} {list(self.shape)} {self.kind.name}"


TYPES = {
    0: NumberType("F32", 1, 4),
    1: NumberType("F16", 1, 2),
    2: NumberType("Q4_0", 32, 18),
    3: NumberType("Q4_1", 32, 20),
    6: NumberType("Q5_0", 32, 22),
    7: NumberType("Q5_1", 32, 24),
    8: NumberType("Q8_0", 32, 34),
    9: NumberType("Q8_1", 32, 40),
    10: NumberType("Q2_K", 256, 84),
    11: NumberType("Q3_K", 256, 110),
    12: NumberType("Q4_K", 256, 144),
    13: NumberType("Q5_K", 256, 176),
    14: NumberType("Q6_K", 256, 210),
    15: NumberType("Q8_K", 256, 292),
    16: NumberType("IQ2_XXS", 256, 66),
    17: NumberType("IQ2_XS", 256, 74),
    18: NumberType("IQ3_XXS", 256, 98),
    19: NumberType("IQ1_S", 256, 50),
    20: NumberType("IQ4_NL", 32, 18),
    21: NumberType("IQ3_S", 256, 110),
    22: NumberType("IQ2_S", 256, 82),
    23: NumberType("IQ4_XS", 256, 136),
    24: NumberType("I8", 1, 1),
    25: NumberType("I16", 1, 2),
    26: NumberType("I32", 1, 4),
    27: NumberType("I64", 1, 8),
    28: NumberType("F64", 1, 8),
    29: NumberType("IQ1_M", 256, 56),
    30: NumberType("BF16", 1, 2),
    34: NumberType("TQ1_0", 256, 54),
    35: NumberType("TQ2_0", 256, 66),
    39: NumberType("MXFP4", 32, 17),
    40: NumberType("NVFP4", 64, 36),
    41: NumberType("Q1_0", 128, 18),
}


def dtype_of(kind: NumberType) -> str:
    """The dtype of the table read from numbers of this type."""
    return str(_PLAIN[kind.name][1]).removeprefix("torch.") if kind.name in _PLAIN else "float32"


def check_matrix(access: RandomAccess, tensor: TensorInfo) -> None:
    """Refuse a tensor that is no matrix, of unknown numbers, or that lies outside the file."""
    if len(tensor.shape) != 2 or min(tensor.shape) < 1:
        raise SourceError(f"{access.name}: tensor {tensor} is not a matrix; choose another with tensor=NAME")
    if not tensor.kind.size:
        raise SourceError(f"{access.name}: tensor {tensor} is of an unknown type; give a file in another quantization")
    if tensor.start + tensor.nbytes > access.size:
        raise SourceError(
            f"{access.name} is truncated, or its header is wrong: tensor {tensor} ends at byte "
            f"{tensor.start + tensor.nbytes} but the file has {access.size}; get it again"
        )


def load(access: RandomAccess, tensor: TensorInfo) -> Tensor:
    """Read a matrix: floats as they are stored, quantized numbers as float32, a block of rows after the other."""
    rows, width = tensor.shape
    if (size := rows * width * 4) > _LARGEST_BYTES:
        raise SourceError(f"{access.name}: tensor {tensor} would take {size / 2**30:.0f} GiB; at most 64 are read")
    if tensor.kind.name in _PLAIN:
        return _read_plain(access, tensor)
    return _dequantize(access, tensor)


def refuse_undequantizable(access: RandomAccess, tensor: TensorInfo) -> None:
    """Refuse a tensor whose numbers are of a type that can't be dequantized here."""
    if tensor.kind.name not in _PLAIN:
        _dequantizer(access, tensor)


def _read_plain(access: RandomAccess, tensor: TensorInfo) -> Tensor:
    """The stored bytes as numbers, without a copy where they lie as a processor wants them."""
    numpy_type, torch_type = _PLAIN[tensor.kind.name]
    stored = np.frombuffer(access.read(tensor.start, tensor.nbytes), numpy_type).reshape(tensor.shape)
    aligned = np.require(stored, requirements="A")
    with warnings.catch_warnings():  # of memory that can't be written, which nobody will
        warnings.simplefilter("ignore")
        return torch.from_numpy(aligned).view(torch_type)


def _dequantize(access: RandomAccess, tensor: TensorInfo) -> Tensor:
    dequantize, code = _dequantizer(access, tensor)
    rows, width = tensor.shape
    row_bytes = tensor.nbytes // rows
    stored = access.read(tensor.start, tensor.nbytes)  # mapped, not loaded; one download where it is remote
    matrix = np.empty((rows, width), dtype=np.float32)
    step = max(16, _BLOCK_BYTES // (4 * width))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        block = stored[first * row_bytes : (first + count) * row_bytes]
        with np.errstate(all="ignore"):  # a damaged scale may be infinite
            matrix[first : first + count] = dequantize(np.frombuffer(block, np.uint8).reshape(count, row_bytes), code)
    return torch.from_numpy(matrix)


def _dequantizer(access: RandomAccess, tensor: TensorInfo) -> tuple[Any, Any]:
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        raise SourceError(
            f"{access.name}: tensor {tensor} is quantized; pip install 'embcheck[gguf]' to dequantize it"
        ) from None
    try:
        code = GGMLQuantizationType[tensor.kind.name]
        empty: NDArray[np.uint8] = np.zeros((1, tensor.kind.size), dtype=np.uint8)
        quants.dequantize(empty, code)
    except (KeyError, NotImplementedError):
        raise SourceError(
            f"{access.name}: the installed gguf package can't dequantize {tensor}; "
            "give a file in another quantization, or pip install --upgrade gguf"
        ) from None
    return quants.dequantize, code
