"""Markdown that reads as plain text too, in which tokens and names that others wrote are inert, whatever they hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embcheck.reports.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["code", "inert", "prose", "table"]

_WIDTH = 240
_ACTIVE = re.compile(
    r"[^\w\s,;()=+%'\"?/.:\[\]-]"  # marks that begin markup, HTML, an entity, a mention or a reference anywhere
    r"|(?<=[^\W\d_])\.(?=\w)"  # www.
    r"|:(?!\s|$)"  # https://, :emoji:
    r"|\](?![\s,;)]|$)"  # [text](link)
    r"|(?<![^\W_])_|_(?![^\W_])"  # _emphasis_; inside of a word it is none
)
_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_COPIED = re.compile(
    r"\bembcheck (?:baseline|check|compare|diagnose|init|inspect|list|probe|report)\b(?:(?!; |, or |\. |\.$).)*"
    r"|(?<!\S)\w+:[^\s;()]*[^\s;:(),.]"
)
_PLAIN = re.compile(r"[^`|<>&\\]*")


def inert(text: str, width: int = _WIDTH) -> str:
    """The text on one line, every character that Markdown or HTML would act on as an entity, numbers as they are."""
    return _ACTIVE.sub(lambda match: _NAMED.get(match[0], f"&#{ord(match[0])};"), safe(text, width))


def prose(text: str, width: int = _WIDTH) -> str:
    """The text with the commands and specs in it as code, to be copied as they are, and all else inert."""
    shown, parts, end = safe(text, width), [], 0
    for match in _COPIED.finditer(shown):
        parts += [inert(shown[end : match.start()], width), code(match[0], width)]
        end = match.end()
    return "".join([*parts, inert(shown[end:], width)])


def code(text: str, width: int = _WIDTH) -> str:
    """The text as code: between backquotes, or in a ``code`` element where it holds what could leave those."""
    shown = safe(text, width)
    if shown.strip() and _PLAIN.fullmatch(shown):
        return f"`{shown}`"
    return f"<code>{''.join(c if c.isalnum() or c == ' ' else f'&#{ord(c)};' for c in shown)}</code>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are inert already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
