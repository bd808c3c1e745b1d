"""Untrusted text for a page: what cannot be printed is made visible, so that it neither acts nor breaks the file."""

from __future__ import annotations

from embcheck.reports.text import safe

__all__ = ["inert"]

_LONGEST = 2_000


def inert(text: str) -> str:
    """The text with control characters, bidi marks and lone surrogates as escapes; doing it twice changes nothing.

    Markup characters stay: escaping them is the template's part.
    """
    return "\\".join(safe(part, _LONGEST) for part in text[: 4 * _LONGEST].split("\\"))
