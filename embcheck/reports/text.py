"""Text to read: untrusted tokens made safe to print, display widths, numbers rounded for reading."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from embcheck.text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ELLIPSIS = "..."
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_COMBINING = frozenset({"Mn", "Me"})
_MARKS = 2  # combining marks that one character may carry
_LONGEST = 2_000  # columns of a text on a page


def safe(token: str, width: int, *, encoding: str = "utf-8") -> str:
    """A token as one line of printable text of at most ``width`` columns, where a longer one ends in ``...``.

    It may be any text: control characters, terminal escapes, bidi marks, newlines, lone surrogates and characters that
    the terminal's ``encoding`` lacks become visible escapes.
    """
    shown: list[str] = []
    marks = _MARKS  # a combining mark needs a base, and may not pile up
    for character in token[: 4 * width + 4]:
        marks = marks + 1 if unicodedata.category(character) in _COMBINING else 0
        shown.append(escaped(character) if marks > _MARKS else _visible(character, encoding))
    return cut("".join(shown), width)


def quoted(shown: str) -> str:
    """A token that is safe to show, in quotes: double ones where it holds a single one and none of these."""
    return f'"{shown}"' if "'" in shown and '"' not in shown else f"'{shown}'"


def inert(text: str) -> str:
    """Text for a page, with what cannot be printed as escapes, so that it neither acts nor breaks the file.

    Doing it twice changes nothing. Markup characters stay: escaping them is the template's part.
    """
    return "\\".join(safe(part, _LONGEST) for part in text[: 4 * _LONGEST].split("\\"))


def columns(text: str) -> int:
    """How many terminal columns printable text takes: two for wide characters, none for combining ones."""
    return sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """The text, shortened to ``width`` columns with ``...`` at its end where it is longer."""
    if columns(text) <= width:
        return text
    kept, room = [], max(0, width - len(_ELLIPSIS))
    for character in text:
        room -= _columns_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + _ELLIPSIS[:width]


def wrap(pieces: Iterable[str], *, width: int, first: str = "", indent: str = "", gap: str = "  ") -> list[str]:
    """Pieces joined into lines of at most ``width`` columns; a piece longer than a line is broken at its spaces.

    A word longer than a line is broken where the line ends. The first line begins with ``first``, the others with
    ``indent``; ``gap`` stands between pieces.
    """
    lines, line = [], first
    for before, part in _parts(pieces, width - columns(indent), gap):
        joined = line + (before if line.strip() and not line.endswith(" ") else "") + part
        if columns(joined) <= width:
            line = joined
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = indent + part
    return [*lines, line.rstrip()] if line.strip() else lines


def _parts(pieces: Iterable[str], room: int, gap: str) -> Iterator[tuple[str, str]]:
    """Each piece with the gap before it, or its words where it is too long for a line of its own."""
    for piece in pieces:
        if columns(piece) <= room:
            yield gap, piece
            continue
        for i, word in enumerate(piece.split(" ")):
            for j, part in enumerate(_folded(word, room)):
                yield ("" if j else " " if i else gap), part


def _folded(word: str, room: int) -> Iterator[str]:
    """A word in parts of at most ``room`` columns: nothing of a path or a command is lost."""
    part = ""
    for character in word:
        if part and columns(part) + _columns_of(character) > room:
            yield part
            part = ""
        part += character
    yield part


def number(value: float | None, apart: Iterable[float] = ()) -> str:
    """A number rounded to four digits, or to more where rounding would make it equal to one of ``apart``."""
    if value is None:
        return "none"
    if not math.isfinite(value) or float(value).is_integer():
        return f"{value:.0f}" if abs(value) < 1e15 else f"{value:.4g}"
    different = [other for other in apart if other != value]
    for digits in range(4, 12):
        text = f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
        if float(text) not in different:
            break
    return text


def _visible(character: str, encoding: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    # Not printable: control, format (bidi marks, joiners), surrogate, unassigned, and every space but the plain one.
    shown = character.isprintable() and _encodable(character, encoding)
    return character if shown else escaped(character)


def _encodable(character: str, encoding: str) -> bool:
    if character.isascii():
        return True
    try:
        character.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in _COMBINING:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
