"""The zip format of ``torch.save``: a pickle of which tensors there are, and an uncompressed entry for each storage."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import one_line, printable
from embcheck.sources.weights.pickles import unpickle
from embcheck.sources.weights.stored import BITS

if TYPE_CHECKING:
    from embcheck.sources.files.access import RandomAccess
    from embcheck.sources.weights.pickles import Storage

__all__ = ["MAGIC", "ZipContainer"]

MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LARGEST_DIRECTORY = 4 * 2**20
_LARGEST_PICKLE = 16 * 2**20
_ENCRYPTED = 1
_BAD_ZIPS = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, LookupError, struct.error)


class ZipContainer:
    """A zip file of storages."""

    def __init__(self, access: RandomAccess) -> None:
        self._access = access
        self._entries, self._ends = self._read_directory()
        pickles = [name for name in self._entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise SourceError(f"{access.name} is a zip file with {len(pickles)} data.pkl; torch.save writes one")
        self._prefix = pickles[0].removesuffix("data.pkl")
        self._refuse_big_endian()
        start, length = self._place(pickles[0])
        if length > _LARGEST_PICKLE:
            raise SourceError(f"{access.name} pickles {length} bytes, more than any model; save only its state_dict()")
        self.content: Any = unpickle(io.BytesIO(access.read(start, length)), access.name)

    def locate(self, storage: Storage) -> int:
        """Where the bytes of a storage begin."""
        name = f"{self._prefix}data/{storage.key}"
        if name not in self._entries:
            raise SourceError(f"{self._access.name} lacks its entry {printable(name)}; download it again")
        start, length = self._place(name)
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

    def _place(self, name: str) -> tuple[int, int]:
        """Where the bytes of an entry begin, and how many there are; they must end before the next entry begins."""
        info, where = self._entries[name], f"{self._access.name}: {printable(name)}"
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            raise SourceError(f"{where} is compressed or encrypted, as torch.save writes none; save the model again")
        if info.header_offset < 0:
            raise SourceError(f"{where} begins before the file does; download it again")
        magic, name_length, extra = _LOCAL_HEADER.unpack(self._access.read(info.header_offset, _LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name_length + extra
        if magic != MAGIC or info.file_size != info.compress_size or start + info.file_size > self._ends[name]:
            raise SourceError(f"{where} runs into what follows it; the file is malformed, download it again")
        return start, info.file_size

    def _refuse_big_endian(self) -> None:
        name = f"{self._prefix}byteorder"
        if name in self._entries:
            start, length = self._place(name)
            if bytes(self._access.read(start, min(length, 16))) != b"little":
                raise SourceError(f"{self._access.name} was saved on a big-endian machine; save it as safetensors")


class _Seekable:
    """A file as `zipfile` reads the directory of one."""

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
        found = bytes(self._access.read(self._at, length))
        self._at += length
        return found
