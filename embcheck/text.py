"""Text that others wrote, made inert: one printable line of bounded length, wherever it is shown."""

from __future__ import annotations

__all__ = ["escaped", "inert_line", "noun"]

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def inert_line(text: str, longest: int = 2_000) -> str:
    """The text as one line: control characters, escapes, bidi marks and lone surrogates become visible escapes.

    What is printable stays as it is, backslashes too: doing it twice changes nothing. A longer text ends in ``...``.
    """
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else _SHORT.get(c) or escaped(c) for c in cut)


def escaped(character: str) -> str:
    """A character by its code, as Python writes it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def noun(n: int, plural: str) -> str:
    """A noun in the plural, such as ``rows of ordinary tokens``, as it stands behind a number: ``1 row of ...``."""
    head, of, rest = plural.partition(" of ")
    return head.removesuffix("s") + of + rest if n == 1 else plural
