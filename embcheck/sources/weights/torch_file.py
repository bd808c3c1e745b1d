"""Weights that ``torch.save`` wrote (.bin, .pt, .pth), in its zip format or the one before torch 1.6."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files import disguise, one_line, printable
from embcheck.sources.weights.pickles import Machine, PickledTensor, PickleEndsError, Storage, unpickle
from embcheck.sources.weights.stored import BITS, Stored, as_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.sources.files import RandomAccess
    from embcheck.sources.weights.pickles import Storage

_DEEPEST = 8  # dictionaries in dictionaries: Megatron has model.language_model.embedding.word_embeddings.weight
_HEAD_BYTES = 512
_ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LARGEST_DIRECTORY = 4 * 2**20
_LARGEST_PICKLE = 16 * 2**20
_ENCRYPTED = 1
_BAD_ZIPS = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, LookupError, struct.error)
_LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # the first of the five: a number
_FIRST_WINDOW = 128 * 2**10
_LARGEST_WINDOW = 16 * 2**20
_COUNT_BYTES = 8


class TorchFile:
    """The tensors of a file. Only its pickle is read here, and nothing in it is run."""

    def __init__(self, access: RandomAccess, file: str, *, alone: bool = False) -> None:
        """``alone`` is where one tensor was saved, without a name."""
        self._access = access
        machine = Machine(access.name)
        self._container = _open(access, machine)
        self.root = self._container.content
        """What was saved: plain values, `PickledTensor` and `Made`."""
        if alone and isinstance(self.root, PickledTensor):
            self.root = {"": self.root}
        self.notes = _note_objects(self.root, machine)
        if not isinstance(self.root, dict):
            raise SourceError(f"{access.name} holds no dictionary of tensors; save the model's state_dict()")
        self._pickled = _flatten(self.root)
        self.tensors = {name: Stored(name, file, t.shape, t.dtype) for name, t in self._pickled.items()}

    def load(self, stored: Stored) -> Tensor:
        """The numbers of one matrix, memory-mapped where the file is."""
        pickled = self._pickled[stored.name]
        size = BITS[stored.dtype] // 8
        span = self._span(pickled, stored)
        start = self._container.locate(pickled.storage) + pickled.offset * size
        return as_tensor(self._access.read(start, span * size), stored, pickled.strides)

    def _span(self, pickled: PickledTensor, stored: Stored) -> int:
        """Numbers from the first of a matrix or a row to its last, which must lie in the storage, each of them once."""
        shape, strides, sides = pickled.shape, pickled.strides, len(pickled.shape)
        is_matrix = sides == len(strides) <= 2  # what has fewer sides is one row
        rows, width = (1, 1, *shape)[-2:] if is_matrix else (0, 0)
        along, across = ((width, 1)[: 2 - sides] + strides) if is_matrix else (0, 0)
        by_rows = (across == 1 or width == 1) and (along >= width or rows == 1)
        by_columns = (along == 1 or rows == 1) and (across >= rows or width == 1)
        span = (rows - 1) * along + (width - 1) * across + 1
        if not (by_rows or by_columns) or pickled.offset + span > pickled.storage.count:
            raise SourceError(
                f"{self._access.name}: tensor {stored} at {pickled.offset} with strides {list(strides)} does not fit "
                f"its storage of {pickled.storage.count} numbers; save the model's state_dict() again"
            )
        return span


def is_torch(head: bytes) -> bool:
    """Whether a file's first bytes are those of a file that ``torch.save`` wrote."""
    return head.startswith(_ZIP_MAGIC) or is_legacy(head)


def _note_objects(root: Any, machine: Machine) -> tuple[str, ...]:
    """A note on objects that a trainer saved beside the weights; among tensors themselves they are refused."""
    if not machine.strangers:
        return ()
    named = ", ".join(map(printable, machine.strangers))
    if isinstance(root, dict) and any(isinstance(held, dict) and _flatten(held) for held in root.values()):
        return (f"objects beside the weights were not made ({named})",)
    raise SourceError(
        f"{machine.origin} holds {printable(machine.strangers[0])}, which is no tensor and could run code when read; "
        "save only the model's state_dict(), best as safetensors"
    )


def _open(access: RandomAccess, machine: Machine) -> ZipContainer | LegacyContainer:
    head = bytes(access.read(0, min(access.size, _HEAD_BYTES)))
    if head.startswith(_ZIP_MAGIC):
        return ZipContainer(access, machine)
    if is_legacy(head):
        return LegacyContainer(access, machine)
    it = disguise(head) or "not a file that torch.save wrote; save the model's state_dict(), best as safetensors"
    raise SourceError(f"{access.name} ({access.size} bytes) is {it}")


def _flatten(root: dict[object, object]) -> dict[str, PickledTensor]:
    tensors: dict[str, PickledTensor] = {}
    level, seen = [("", root)], {id(root)}
    for _ in range(_DEEPEST):
        deeper = []
        for prefix, held in level:
            for key, value in held.items():
                if isinstance(value, PickledTensor):
                    tensors[f"{prefix}{key}"] = value
                elif isinstance(value, dict) and id(value) not in seen:
                    seen.add(id(value))
                    deeper.append((f"{prefix}{key}.", value))
        level = deeper
    return tensors


class ZipContainer:
    """A zip file of storages."""

    def __init__(self, access: RandomAccess, machine: Machine) -> None:
        self._access = access
        self._entries, self._ends = self._read_directory()
        pickles = [name for name in self._entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise SourceError(f"{access.name} is a zip file with {len(pickles)} data.pkl; torch.save writes one")
        self._prefix = pickles[0].removesuffix("data.pkl")
        self._refuse_big_endian()
        start, length = self._locate_entry(pickles[0])
        if length > _LARGEST_PICKLE:
            raise SourceError(f"{access.name} pickles {length} bytes, more than any model; save only its state_dict()")
        self.content: Any = unpickle(io.BytesIO(access.read(start, length)), machine)

    def locate(self, storage: Storage) -> int:
        """Where the bytes of a storage begin."""
        name = f"{self._prefix}data/{storage.key}"
        if name not in self._entries:
            raise SourceError(f"{self._access.name} lacks its entry {printable(name)}; download it again")
        start, length = self._locate_entry(name)
        if length != storage.count * BITS.get(storage.dtype or "U8", 0) // 8:
            raise SourceError(
                f"{self._access.name}: {printable(name)} has {length} bytes, not {storage.count} numbers of "
                f"{printable(storage.dtype or 'U8')}; download it again"
            )
        return start

    def _read_directory(self) -> tuple[dict[str, zipfile.ZipInfo], dict[str, int]]:
        """The entries by name, and where the next one begins after each."""
        try:
            with zipfile.ZipFile(_Seekable(self._access)) as directory:
                entries = {info.filename: info for info in directory.infolist()}
                starts = sorted({info.header_offset for info in directory.infolist()})
                following = dict(zip(starts, [*starts[1:], directory.start_dir], strict=True))
        except _BAD_ZIPS as error:
            raise SourceError(
                f"{self._access.name} is truncated or no zip file that torch.save wrote ({one_line(error)}); "
                "download it again"
            ) from None
        return entries, {name: following[info.header_offset] for name, info in entries.items()}

    def _locate_entry(self, name: str) -> tuple[int, int]:
        """Where the bytes of an entry begin, and how many there are; they must end before the next entry begins."""
        info, where = self._entries[name], f"{self._access.name}: {printable(name)}"
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise SourceError(f"{where} is compressed or encrypted, as torch.save writes none; save the model again")
        if info.header_offset < 0:
            raise SourceError(f"{where} begins before the file does; download it again")
        magic, name_length, extra = _LOCAL_HEADER.unpack(self._access.read(info.header_offset, _LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name_length + extra
        if magic != _ZIP_MAGIC or info.file_size != info.compress_size or start + info.file_size > self._ends[name]:
            raise SourceError(f"{where} runs into what follows it; the file is malformed, download it again")
        return start, info.file_size

    def _refuse_big_endian(self) -> None:
        name = f"{self._prefix}byteorder"
        if name in self._entries:
            start, length = self._locate_entry(name)
            if bytes(self._access.read(start, min(length, 16))) != b"little":
                raise SourceError(f"{self._access.name} was saved on a big-endian machine; save it as safetensors")


class _Seekable:
    """A file as `zipfile` reads the directory of pickled."""

    def __init__(self, access: RandomAccess) -> None:
        self._access = access
        self._at = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._access.size}[whence]
        if self._at < 0:
            raise ValueError("a position before the file's start")
        return self._at

    def read(self, length: int = -1) -> bytes:
        left = max(0, self._access.size - self._at)
        length = left if length < 0 else min(length, left)
        if length > _LARGEST_DIRECTORY:
            raise ValueError(f"a directory of {length} bytes")
        piece = bytes(self._access.read(self._at, length))
        self._at += length
        return piece


class LegacyContainer:
    """A file of pickles and storages."""

    def __init__(self, access: RandomAccess, machine: Machine) -> None:
        self._access = access
        self._machine = machine
        self.content, keys, start = self._read_pickles()
        self._starts = self._place(keys, start)

    def locate(self, storage: Storage) -> int:
        """Where the bytes of a storage begin."""
        if (at := self._starts.get(storage.key)) is None:
            raise SourceError(
                f"{self._access.name} lacks storage {printable(storage.key)}, or has one of no known type before it; "
                "save it again"
            )
        if (count := int.from_bytes(self._access.read(at, _COUNT_BYTES), "little")) != storage.count:
            raise SourceError(
                f"{self._access.name}: storage {printable(storage.key)} has {count} numbers, not {storage.count}; "
                "download it again"
            )
        return at + _COUNT_BYTES

    def _place(self, keys: list[str], at: int) -> dict[str, int]:
        """Where each storage begins, up to one of unknown type; if there is none, the file must end with the last."""
        storages, starts = self._machine.storages, {}
        for key in keys:
            held = storages.get(key)
            starts[key] = at
            bits = BITS.get((held.dtype or "U8") if held else "", 0)
            if held is None or not bits:
                return starts
            at += _COUNT_BYTES + held.count * bits // 8
        if at != self._access.size:
            raise SourceError(
                f"{self._access.name} has {self._access.size} bytes where its storages end at {at}; download it again"
            )
        return starts

    def _read_pickles(self) -> tuple[Any, list[str], int]:
        """What was saved, the order of the storages, and where they begin; more is read until all of it is there."""
        window = _FIRST_WINDOW
        while True:
            head = self._access.read(0, min(window, self._access.size))
            stream = io.BytesIO(head)
            try:
                _, _, _, content, keys = [unpickle(stream, self._machine) for _ in range(5)]
            except PickleEndsError:
                if window >= min(_LARGEST_WINDOW, self._access.size):
                    raise
                window *= 8
                continue
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise SourceError(f"{self._access.name} does not list its storages; download it again")
            return content, keys, stream.tell()


def is_legacy(head: bytes) -> bool:
    """Whether a file begins as this format does."""
    return head.startswith(b"\x80") and _LEGACY_MAGIC in head[:32]
