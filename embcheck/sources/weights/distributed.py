"""A checkpoint that ``torch.distributed.checkpoint`` wrote (FSDP, torchtitan, Megatron's torch_dist): one tensor of it.

Its ``.metadata`` is a pickle, and is read as the data that it is. It tells in which ``.distcp`` file each block of each
tensor lies, as a file of its own that ``torch.save`` wrote.
"""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from embcheck.errors import SourceError
from embcheck.sources.files import printable
from embcheck.sources.weights.pickles import BAD_STEPS, Machine, Made, Name, counts, require, unpickle
from embcheck.sources.weights.stored import FLOATS, Stored
from embcheck.sources.weights.torch_file import TorchFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from embcheck.sources.files import Folder, RandomAccess

METADATA, SHARDS = ".metadata", ".distcp"
_OWN = ("torch.", "pathlib.", "megatron.")  # classes that metadata is of; none is made
_MEMBER = "builtins.getattr"  # of an enumeration, as Python 3.11.0 to 3.11.3 pickle one; not called either
_LARGEST_METADATA = 64 * 2**20
_MOST_BLOCKS = 1024
_TYPES = {f"torch.{name}": dtype for dtype, name in FLOATS.items()}


class _Reader(Machine):
    """The machine for pickles of tensors, for the classes of this format; keys may be objects."""

    def push_name(self, module: str, name: str) -> None:
        super().push_name(module, name)
        if self.strangers and not (self.strangers[-1].startswith(_OWN) or self.strangers[-1] == _MEMBER):
            raise SourceError(
                f"{self.origin} holds {printable(self.strangers[-1])}, which no checkpoint's metadata needs and which "
                "could run code when read; get the checkpoint again"
            )
        self.strangers.clear()

    def fill(self, values: list[Any]) -> None:
        keyed = [(key, value) for key, value in zip(values[::2], values[1::2], strict=True) if isinstance(key, Made)]
        super().fill(values)
        if keyed:
            require(self.stack[-1], dict).update(keyed)


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a tensor, and the bytes of a file that hold it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int

    def overlaps(self, other: _Block) -> bool:
        """Whether some numbers lie in both."""
        pairs = zip(self.offsets, self.sizes, other.offsets, other.sizes, strict=True)
        return all(own < at + size and at < own + count for own, count, at, size in pairs)


class DistributedCheckpoint:
    """The tensors of a folder. Only its metadata is read here: a `TensorFile`."""

    notes: tuple[str, ...] = ()

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.files = tuple(name for name in folder.names() if name.endswith(SHARDS) and "/" not in name)
        access = folder.open(METADATA)
        if access.size > _LARGEST_METADATA:
            raise SourceError(f"{access.name} has {access.size} bytes, more than any checkpoint's; get it again")
        root = unpickle(io.BytesIO(access.read(0, access.size)), _Reader(access.name))
        try:
            known, places = root.attributes["state_dict_metadata"], root.attributes["storage_data"]
            tensors = {name: told.attributes for name, told in known.items() if "chunks" in told.attributes}
            self._places = {_key(index.attributes): place.attributes for index, place in places.items()}
            self.tensors = {name: self._stored(name, told) for name, told in tensors.items()}
            self._chunks = {name: require(told["chunks"], list) for name, told in tensors.items()}
        except BAD_STEPS as error:
            raise SourceError(
                f"{access.name} is no metadata of torch.distributed.checkpoint ({type(error).__name__}); get it again"
            ) from None

    def load(self, stored: Stored) -> Tensor:
        """The numbers of one matrix: a lone block memory-mapped where its file is, several copied into one matrix."""
        blocks = self._blocks(stored)
        if len(blocks) == 1:
            return self._read(stored, blocks[0])
        matrix = torch.empty(stored.shape, dtype=getattr(torch, FLOATS[stored.dtype]))
        for block in blocks:
            cut = tuple(slice(at, at + size) for at, size in zip(block.offsets, block.sizes, strict=True))
            matrix[cut] = self._read(stored, block)
        return matrix

    def _stored(self, name: str, told: dict[str, Any]) -> Stored:
        dtype = require(told["properties"].state[0], Name).text
        shape = counts(told["size"])
        return Stored(require(name, str), METADATA, shape, _TYPES.get(dtype, dtype.removeprefix("torch.").upper()))

    def _blocks(self, stored: Stored) -> list[_Block]:
        """The blocks of a tensor, which must make all of it, each number once."""
        chunks = self._chunks[stored.name]
        if len(chunks) > _MOST_BLOCKS:
            raise self._error(stored, f"it is cut into {len(chunks)} blocks; at most {_MOST_BLOCKS} are read")
        try:
            blocks = list(self._located(stored, chunks))
        except BAD_STEPS as error:
            raise self._error(stored, f"where it lies is not told ({type(error).__name__})") from None
        sides = [zip(block.offsets, block.sizes, stored.shape, strict=False) for block in blocks]
        fits = all(at >= 0 and size > 0 and at + size <= side for each in sides for at, size, side in each)
        is_whole = sum(math.prod(block.sizes) for block in blocks) == math.prod(stored.shape)
        if not fits or not is_whole or any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2)):
            raise self._error(stored, "its blocks leave holes or overlap")
        return blocks

    def _located(self, stored: Stored, chunks: list[Made]) -> Iterator[_Block]:
        for chunk in chunks:
            offsets, sizes = counts(chunk.attributes["offsets"]), counts(chunk.attributes["sizes"])
            place = self._places[stored.name, offsets]
            file, start, length = require(place["relative_path"], str), place["offset"], place["length"]
            if len(offsets) != len(stored.shape) or len(sizes) != len(stored.shape):
                raise TypeError
            if place.get("transform_descriptors"):
                raise self._error(stored, "it is compressed, which is not read; save it without extensions")
            if file not in self.files:
                raise self._error(stored, f"{printable(file)} is not in the folder; get that part too")
            yield _Block(offsets, sizes, file, require(start, int), require(length, int))

    def _read(self, stored: Stored, block: _Block) -> Tensor:
        access = self._folder.open(block.file)
        part = TorchFile(_Part(access, block.start, block.length), block.file, alone=True)
        own = part.tensors.get("")
        if own is None or own.shape != block.sizes or own.dtype != stored.dtype:
            raise self._error(stored, f"{printable(block.file)} holds something else at byte {block.start}")
        return part.load(own)

    def _error(self, stored: Stored, why: str) -> SourceError:
        return SourceError(
            f"{self._folder.origin}: tensor {stored}: {why}; or convert the checkpoint to one file (python "
            "-m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER model.pt)"
        )


def _key(index: dict[str, Any]) -> tuple[str, Any]:
    return require(index["fqn"], str), index.get("offset")


class _Part:
    """A run of bytes of a file, as a file."""

    def __init__(self, access: RandomAccess, start: int, length: int) -> None:
        self.name, self.size = access.name, length
        self._access, self._start = access, start
        if start < 0 or length < 0 or start + length > access.size:
            raise SourceError(
                f"{access.name} is truncated: it has {access.size} bytes, {start + length} are needed; get it again"
            )

    def read(self, start: int, length: int) -> memoryview:
        """Exactly so many bytes."""
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(f"{self.name}: a tensor runs beyond its {self.size} bytes; get it again")
        return self._access.read(self._start + start, length)
