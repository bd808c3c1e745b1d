"""Protocol buffers that nobody vouches for, walked field by field; what is not asked for is passed over, not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.sources.files import RandomAccess

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds of fields; 3 and 4 are groups, which nobody writes any more
_FIXED = {FIXED64: 8, FIXED32: 4}
_LONGEST_VARINT = 10
_MOST_FIELDS = 2**20  # graphs of large models have a third of it
_LONGEST_TEXT = 2**16


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, a whole number's value, or where its bytes lie."""

    number: int
    kind: int
    value: int
    start: int
    stop: int


class ProtobufFile:
    """A file that is one message."""

    def __init__(self, access: RandomAccess, what: str) -> None:
        self.access, self._what = access, what
        self._left = _MOST_FIELDS

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Fields of the message that lies there, which must end where it should."""
        at = start
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise self.damaged_error(f"it has more than {_MOST_FIELDS} fields")
            tag, at = self.varint(at, stop)
            number, kind, value = tag >> 3, tag & 7, 0
            begin = at
            if kind == VARINT:
                value, at = self.varint(at, stop)
            elif kind == BYTES:
                length, begin = self.varint(at, stop)
                at = begin + length
            elif kind in _FIXED:
                at += _FIXED[kind]
            if kind not in {VARINT, BYTES, *_FIXED} or not number or at > stop:
                raise self.damaged_error(f"no field begins at byte {begin}, or it does not end")
            yield Field(number, kind, value, begin, at)

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        """A whole number below 2**64 and where it ends."""
        value = 0
        for place, byte in enumerate(self.access.read(at, min(_LONGEST_VARINT, stop - at))):
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return value & (2**64 - 1), at + place + 1
        raise self.damaged_error(f"no number ends at byte {at}")

    def text(self, field: Field) -> str:
        """The text of a field."""
        if field.kind != BYTES or field.stop - field.start > _LONGEST_TEXT:
            raise self.damaged_error(f"the name at byte {field.start} is none")
        return bytes(self.access.read(field.start, field.stop - field.start)).decode("utf-8", "replace")

    def whole_numbers(self, field: Field) -> list[int]:
        """One whole number, or several in one field."""
        if field.kind == VARINT:
            return [field.value]
        numbers: list[int] = []
        at = field.start
        while field.kind == BYTES and at < field.stop and len(numbers) < _LONGEST_TEXT:
            number, at = self.varint(at, field.stop)
            numbers.append(number)
        return numbers

    def damaged_error(self, why: str) -> SourceError:
        """The error that a file deserves which is no such message."""
        return SourceError(f"{self.access.name} is damaged, or no {self._what} ({why}); get it again")
