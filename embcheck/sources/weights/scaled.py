"""Matrices of few bits with their scale beside them, read to float32: fp8, int8, compressed-tensors, bitsandbytes, MLX.

How a matrix lies is told by the names, types and shapes of its parts, and by the config where those leave a doubt. What
does not fit, or lacks a part, is no such matrix, and the reason is given.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from embcheck.errors import SourceError
from embcheck.sources.files import printable
from embcheck.sources.weights.stored import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import TypeAlias

    from torch import Tensor

    from embcheck.sources.files import JsonObject
    from embcheck.sources.weights.stored import Stored

    Parts: TypeAlias = Mapping[str, Stored]
    """The tensors under one name, by what stands behind it."""
    Read: TypeAlias = Callable[[Stored], Tensor]

PACKED = "weight_packed"
_SCALES = ("weight_scale", "weight_scale_inv", "SCB")  # of them the second is a factor too, whatever its name says
_FP8 = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
_STATES = {f"weight.quant_state.bitsandbytes__{kind}": kind for kind in ("nf4", "fp4")}
_PARTS = (
    "weight", PACKED, *_SCALES, "weight_shape", "weight_zero_point", "weight_g_idx", "weight_format",
    "scales", "biases", *_STATES, "weight.absmax", "weight.quant_map", "weight.nested_absmax",
    "weight.nested_quant_map",
)  # fmt: skip
_BITS = (1, 2, 4, 8)
_SEVEN_BITS = 127.0
_WORD = 32
_BLOCK_BYTES = 4 * 2**20
_LARGEST_STATE = 2**16


@dataclass(frozen=True, slots=True)
class Scaled:
    """A matrix whose numbers are made of several tensors."""

    shape: tuple[int, ...]
    parts: tuple[Stored, ...]
    how: str
    rows: Callable[[slice, Mapping[str, Tensor]], Tensor] = field(repr=False)
    """Some rows of it as float32, from the parts by their names."""

    @property
    def nbytes(self) -> int:
        """Bytes of all its parts."""
        return sum(part.nbytes for part in self.parts)

    def load(self, read: Read) -> Tensor:
        """All of it, a block of rows after the other."""
        parts = {part.name: read(part) for part in self.parts}
        matrix = torch.empty(self.shape, dtype=torch.float32)
        step = max(1, _BLOCK_BYTES // (4 * self.shape[1]))
        for first in range(0, self.shape[0], step):
            block = slice(first, min(first + step, self.shape[0]))
            matrix[block] = self.rows(block, parts)
        return matrix


class MisfitError(SourceError):
    """Numbers without their scale, or with one that does not fit them."""


def find_scaled(parts: Parts, config: JsonObject, read: Read) -> Scaled:
    """The matrix that these tensors make, whose own is ``weight`` or ``weight_packed``; small ones may be read.

    Raises
    ------
    MisfitError
        Their numbers can't be told.
    """
    own = parts.get(PACKED) or parts["weight"]
    if len(own.shape) != 2 or min(own.shape) < 1:
        raise MisfitError("it is no matrix")
    if PACKED in parts:
        return _packed(parts, config, read)
    if own.dtype == "U8" and (state := next((name for name in _STATES if name in parts), None)) is not None:
        return _four_bits(parts, state, read)
    if own.dtype == "U32" and {"scales", "biases"} <= parts.keys():
        return _affine(parts, config)
    if own.dtype not in {*_FP8, "I8"}:
        raise MisfitError("it is of a type that no known scale goes with")
    if (scale := next((parts[name] for name in _SCALES if name in parts), None)) is None:
        raise MisfitError(f"its scale ({', '.join(_SCALES)}) is not beside it")
    if scale.name.endswith("SCB"):
        return _eight_bits(parts, scale, read)
    zero = _same_shape(parts.get("weight_zero_point"), scale)
    grid = _grid(own.shape, scale, config)

    def rows(block: slice, held: Mapping[str, Tensor]) -> Tensor:
        numbers = held[own.name][block].float()
        if zero is not None:
            numbers -= _spread(held[zero.name], grid, block, own.shape[1])
        return numbers.mul_(_spread(held[scale.name], grid, block, own.shape[1]))

    kind = "int8" if own.dtype == "I8" else f"fp8 ({own.dtype.removeprefix('F8_')})"
    return Scaled(own.shape, _all(own, scale, zero), f"stored as {kind} with {_said(scale, grid, own.shape)}", rows)


def _packed(parts: Parts, config: JsonObject, read: Read) -> Scaled:
    """compressed-tensors: whole numbers of few bits one after the other in words of 32 bits, less half their range."""
    own, scale, told = parts[PACKED], parts.get("weight_scale"), parts.get("weight_shape")
    if own.dtype != "I32" or scale is None or told is None or told.shape != (2,) or told.dtype not in {"I64", "I32"}:
        raise MisfitError("weight_scale or weight_shape is not beside it, or of another kind")
    if "weight_g_idx" in parts:
        raise MisfitError("its columns are in groups of another order (weight_g_idx)")
    height, width = read(told).tolist()
    fits = [
        bits for bits in _BITS if height == own.shape[0] and width > 0 and -(-width * bits // _WORD) == own.shape[1]
    ]
    said = set(_config_values(config, "num_bits"))
    bits = [number for number in fits if number in said] or fits
    if len(bits) != 1:
        raise MisfitError(f"weight_shape {[height, width]} does not fit it, or its bits are not among {_BITS}")
    shape, half = (height, width), 1 << (bits[0] - 1)
    grid = _grid(shape, scale, config)
    zero = parts.get("weight_zero_point")
    if zero is not None and zero.dtype == "I32" and zero.shape == (-(-height * bits[0] // _WORD), *scale.shape[1:]):
        unpack_zero: Callable[[Tensor], Tensor] = lambda held: _unpack(held.T, bits[0], height).T.float() - half  # noqa: E731
    else:
        zero, unpack_zero = _same_shape(zero, scale), torch.Tensor.float

    def rows(block: slice, held: Mapping[str, Tensor]) -> Tensor:
        numbers = _unpack(held[own.name][block], bits[0], width).float() - half
        if zero is not None:
            numbers -= _spread(unpack_zero(held[zero.name]), grid, block, width)
        return numbers.mul_(_spread(held[scale.name], grid, block, width))

    how = f"stored as int{bits[0]}, packed, with {_said(scale, grid, shape)}"
    return Scaled(shape, _all(own, scale, zero), how, rows)


def _affine(parts: Parts, config: JsonObject) -> Scaled:
    """MLX: unsigned numbers in words of 32 bits, times a scale plus a bias, both of a group of columns."""
    own, scale, bias = parts["weight"], parts["scales"], parts["biases"]
    fits = [
        (bits, group)
        for bits in _config_values(config, "bits")
        for group in _config_values(config, "group_size")
        if bits in _BITS and scale.shape == (own.shape[0], own.shape[1] * _WORD // bits // group)
        and scale.shape[1] * group * bits == own.shape[1] * _WORD
    ]  # fmt: skip
    if len(set(fits)) != 1 or scale.dtype not in FLOATS or _same_shape(bias, scale) is None or bias.dtype not in FLOATS:
        raise MisfitError("its scales and biases, or bits and group_size of the config, do not fit it")
    bits, group = fits[0]
    shape, grid = (own.shape[0], scale.shape[1] * group), (1, group)

    def rows(block: slice, held: Mapping[str, Tensor]) -> Tensor:
        numbers = _unpack(held[own.name][block], bits, shape[1]).float()
        numbers *= _spread(held[scale.name], grid, block, shape[1])
        return numbers.add_(_spread(held[bias.name], grid, block, shape[1]))

    return Scaled(shape, (own, scale, bias), f"stored as {bits} bits with {_said(scale, grid, shape)} and bias", rows)


def _eight_bits(parts: Parts, scale: Stored, read: Read) -> Scaled:
    """bitsandbytes, LLM.int8(): a row's largest number, which 127 stands for."""
    own, order = parts["weight"], parts.get("weight_format")
    if own.dtype != "I8" or scale.dtype != "F32" or scale.shape != (own.shape[0],):
        raise MisfitError(f"{scale} does not fit it")
    if order is not None and (order.dtype != "U8" or order.shape != () or int(read(order)) != 0):
        raise MisfitError("its numbers are in the order of a graphics card (weight_format)")

    def rows(block: slice, held: Mapping[str, Tensor]) -> Tensor:
        return held[own.name][block].float() * held[scale.name][block, None] * (1 / _SEVEN_BITS)

    return Scaled(own.shape, (own, scale), "stored as int8 of bitsandbytes with a scale a row", rows)


def _four_bits(parts: Parts, state_name: str, read: Read) -> Scaled:
    """bitsandbytes, NF4 and FP4: places in a list of 16 numbers, times the largest number of a block.

    Those largest numbers may be stored in the same way again, as bytes (``nested``).
    """
    own, stored = parts["weight"], parts[state_name]
    if stored.dtype != "U8" or len(stored.shape) != 1 or stored.shape[0] > _LARGEST_STATE:
        raise MisfitError(f"{stored} is no text")
    state = _state(bytes(read(stored).tolist()))
    shape, block, inner = state.get("shape"), _size(state.get("blocksize")), _size(state.get("nested_blocksize", 1))
    if not isinstance(shape, list) or len(shape) != 2 or not all(map(_size, shape)) or not block or not inner:
        raise MisfitError("its quant_state tells no shape or blocks")
    height, width = shape
    count = -(-height * width // block)
    is_nested = "nested_blocksize" in state
    needed = {"absmax": ((count,), "U8" if is_nested else "F32"), "quant_map": ((16,), "F32")}
    if is_nested:
        needed |= {"nested_absmax": ((-(-count // inner),), "F32"), "nested_quant_map": ((256,), "F32")}
    held_parts = {name: parts.get(f"weight.{name}") for name in needed}
    for name, (size, dtype) in needed.items():
        if (part := held_parts[name]) is None or part.shape != size or part.dtype != dtype:
            raise MisfitError(f"its {name} is not beside it, or does not fit")
    if math.prod(own.shape) != -(-height * width // 2):
        raise MisfitError(f"it does not have the numbers of {[height, width]}")
    offset = state.get("nested_offset", 0.0)
    if isinstance(offset, bool) or not isinstance(offset, int | float):
        raise MisfitError("its nested_offset is no number")
    names = {name: part.name for name, part in held_parts.items() if part is not None}

    def rows(cut: slice, held: Mapping[str, Tensor]) -> Tensor:
        places = torch.arange(cut.start * width, cut.stop * width)
        octets = held[own.name].reshape(-1)[places // 2]
        nibbles = torch.where(places % 2 == 0, octets >> 4, octets & 0xF)
        numbers = held[names["quant_map"]][nibbles.long()]
        blocks = torch.arange(cut.start * width // block, (cut.stop * width - 1) // block + 1)
        largest = held[names["absmax"]][blocks]
        if is_nested:
            largest = held[names["nested_quant_map"]][largest.long()] * held[names["nested_absmax"]][blocks // inner]
            largest = largest + offset
        return (numbers * largest[places // block - blocks[0]]).view(-1, width)

    how = f"stored as {_STATES[state_name]} of bitsandbytes with a scale for each {block} numbers"
    return Scaled((height, width), (own, *(part for part in held_parts.values() if part is not None)), how, rows)


def _state(raw: bytes) -> JsonObject:
    try:
        state = json.loads(raw)
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise MisfitError("its quant_state is no JSON object")
    return state


def _size(value: object) -> int:
    """A number of things, 0 where it is none."""
    return value if type(value) is int and 0 < value < 2**40 else 0


def _all(*parts: Stored | None) -> tuple[Stored, ...]:
    return tuple(part for part in parts if part is not None)


def _same_shape(part: Stored | None, scale: Stored) -> Stored | None:
    if part is not None and part.shape != scale.shape:
        raise MisfitError(f"{part} has not the shape of {printable(scale.name)} {list(scale.shape)}")
    return part


def _grid(shape: tuple[int, ...], scale: Stored, config: JsonObject) -> tuple[int, int]:
    """Of how many rows and columns each number of a scale is; blocks at the edges may be smaller.

    A scale for each row or for all is known by its shape, as is a group of columns that divides the width; other
    blocks are the config's.
    """
    height, width = shape
    if scale.dtype not in {*FLOATS, "F8_E8M0"}:
        raise MisfitError(f"{scale} is no scale")
    if math.prod(scale.shape) == 1:
        return height, width
    if scale.shape in {(height,), (height, 1)}:
        return 1, width
    if len(scale.shape) == 2 and min(scale.shape) > 0:
        blocks = {(1, size) for size in _config_values(config, "group_size")}
        for name in ("weight_block_size", "block_structure"):
            said = [sides for sides in _config_values(config, name) if isinstance(sides, list) and len(sides) == 2]
            blocks |= {(_size(sides[0]), _size(sides[1])) for sides in said}
        fits = {b for b in blocks if all(b) and scale.shape == (-(-height // b[0]), -(-width // b[1]))}
        if not fits and scale.shape[0] == height and width % scale.shape[1] == 0:
            fits = {(1, width // scale.shape[1])}
        if len(fits) == 1:
            rows, columns = fits.pop()
            return rows, columns
    raise MisfitError(f"{scale} does not fit it, and no size of blocks in config.json makes it")


def _config_values(config: JsonObject, name: str) -> list[Any]:
    """Every value under a name in what a config says of quantization, at any depth."""
    waiting, values = [config.get("quantization_config"), config.get("quantization")], []
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            values += [node[name]] if name in node else []
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return [value for value in values if isinstance(value, list) or _size(value)]


def _spread(grid_values: Tensor, grid: tuple[int, int], block: slice, width: int) -> Tensor:
    """The numbers of a grid, for each row of a block and each column, or one column for all."""
    values = grid_values.float().reshape(-1, 1) if grid_values.ndim != 2 else grid_values.float()
    rows = torch.arange(block.start, block.stop) // grid[0]
    values = values[rows]
    return values if values.shape[1] == 1 else values.repeat_interleave(grid[1], dim=1)[:, :width]


def _said(scale: Stored, grid: tuple[int, int], shape: tuple[int, ...]) -> str:
    """Of what each number of a scale is, for people."""
    height, width = shape
    if grid == (height, width) and math.prod(scale.shape) == 1:
        return "one scale"
    return "a scale a row" if grid == (1, width) else f"a scale for each {grid[0]} x {grid[1]}"


def _unpack(words: Tensor, bits: int, width: int) -> Tensor:
    """The numbers of few bits that words of 32 bits hold, the lowest bits first."""
    octets = words.reshape(-1).view(torch.uint8)
    numbers = torch.stack([(octets >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)], dim=-1)
    return numbers.view(len(words), -1)[:, :width]


def parts_of(name: str, names: Collection[str]) -> dict[str, str]:
    """The tensors that may belong to one called ``X.weight``: whole names by what stands behind ``X.``."""
    holder = name.removesuffix("weight")
    return {part: holder + part for part in _PARTS if holder + part in names}
