"""Text that others wrote, made inert: one printable line of bounded length, wherever it is shown."""

from __future__ import annotations

__all__ = ["counted", "escaped", "inert_line", "noun"]

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


def counted(n: int, plural: str, singular: str | None = None) -> str:
    """A number with what it counts, whose singular is to be given where that is not only another `noun`."""
    return f"{n} {singular if n == 1 and singular else noun(n, plural)}"


def noun(n: int, plural: str) -> str:
    """A noun in the plural, such as ``rows of ordinary tokens``, as it stands behind a number: ``1 row of ...``."""
    head, of, rest = plural.partition(" of ")
    one = f"{head[:-3]}y" if head.endswith("ies") else head.removesuffix("s")
    return one + of + rest if n == 1 else plural
