"""From a tokenizer's raw token strings to what they stand for: text, bytes, the start or the inside of a word."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenizers import models

from embcheck.table.vocabulary import CONTINUATION, TokenKind, classify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

    from embcheck.sources.files import JsonObject

_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_IMPOSSIBLE = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})  # no UTF-8 text has these
_ASCII = 0x80
_SPACE_BYTE = "Ġ"


class Surface(NamedTuple):
    """A token as text."""

    form: str
    """As users see it: a leading space where the token has one, ``##`` kept, bytes as ``<0xE4>``."""
    kind: TokenKind
    text: str | None
    """What to look for in text to see it used; ``None`` where bytes alone don't say."""
    inside: bool = False
    """Whether it only ever continues a word."""
    impossible: bool = False
    """Whether it stands for bytes that no text has."""


@dataclass(frozen=True, slots=True)
class Notation:
    """How a tokenizer writes spaces, bytes and the inside of words in its token strings."""

    byte_level: bool = False
    space: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    whole_words: bool = False

    def read(self, raw: str) -> Surface:
        """Text of one token string."""
        if self.byte_level:
            return self._read_bytes(raw)
        if match := _FALLBACK.fullmatch(raw):
            return _from_bytes(bytes([int(match[1], 16)]), raw)
        if self.prefix is not None and raw.startswith(self.prefix) and raw != self.prefix:
            core = raw.removeprefix(self.prefix)
            return Surface(CONTINUATION + core, classify(CONTINUATION + core, starts_word=False), core, inside=True)
        form = raw if self.space is None else raw.replace(self.space, " ")
        return self._classify(form)

    def _read_bytes(self, raw: str) -> Surface:
        core = self._without_suffix(raw)
        plain = core.replace(_SPACE_BYTE, " ")
        if plain.isascii() and plain.isprintable() and " " not in core:  # visible bytes are written as they are
            return self._classify(plain, ends_word=core != raw)
        try:
            octets = bytes(map(_BYTE_OF.__getitem__, core))
        except KeyError:  # not written in bytes: text that was added to the vocabulary as it is
            return self._classify(raw)
        return self.read_octets(octets, ends_word=core != raw)

    def read_octets(self, octets: bytes, *, ends_word: bool = False) -> Surface:
        """Text of a token that is known by its bytes."""
        try:
            form = octets.decode("utf-8")
        except UnicodeDecodeError:
            return _from_bytes(octets, "".join(f"<0x{octet:02X}>" for octet in octets))
        return self._classify(form, ends_word=ends_word)

    def _classify(self, form: str, *, ends_word: bool = False) -> Surface:
        core = self._without_suffix(form)
        if self.suffix is not None:  # word ends are marked, not starts: only what ends where it starts is a word
            return Surface(core, classify(core, starts_word=ends_word or core != form), core)
        begins = True if self.whole_words or self.prefix is not None else None
        return Surface(form, classify(form, starts_word=begins), form)

    def _without_suffix(self, raw: str) -> str:
        return raw if self.suffix is None or raw == self.suffix else raw.removesuffix(self.suffix)


def notation(tokenizer: Tokenizer) -> Notation:
    """Read a tokenizer's notation off its parts."""
    wholes = (tokenizer.decoder, tokenizer.pre_tokenizer, tokenizer.normalizer)
    parts = [part for whole in wholes for part in _parts(whole)]
    model = tokenizer.model
    by_default = "▁" if isinstance(model, models.Unigram) else None
    return Notation(
        byte_level=any(part["type"] == "ByteLevel" for part in parts),
        space=next((mark for part in parts if (mark := _space_mark(part))), by_default),
        prefix=getattr(model, "continuing_subword_prefix", None) or None,
        suffix=getattr(model, "end_of_word_suffix", None) or None,
        whole_words=isinstance(model, models.WordLevel),
    )


def _from_bytes(octets: bytes, form: str) -> Surface:
    """A token of bytes that are no text by themselves, or of one byte that a fallback writes."""
    text = octets.decode("ascii") if len(octets) == 1 and octets[0] < _ASCII else None
    return Surface(form, TokenKind.BYTE, text, impossible=not _IMPOSSIBLE.isdisjoint(octets))


def _parts(whole: Any) -> Iterator[JsonObject]:
    if whole is not None:
        yield from _components(json.loads(whole.__getstate__()))


def _components(node: object) -> Iterator[JsonObject]:
    """Every component in a serialised component, itself first."""
    if isinstance(node, dict):
        if "type" in node:
            yield node
        for value in node.values():
            yield from _components(value)
    elif isinstance(node, list):
        for value in node:
            yield from _components(value)


def _space_mark(part: JsonObject) -> str | None:
    """The character that stands for a space, if this component swaps the two."""
    if part["type"] == "Metaspace":
        return str(part["replacement"])
    if part["type"] != "Replace":
        return None
    pattern, content = part["pattern"].get("String"), part["content"]
    if content == " " and pattern and not pattern.isascii():
        return str(pattern)
    return str(content) if pattern == " " and content and not content.isascii() else None


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level tokenizers write bytes as: visible Latin-1 as itself, the rest from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [octet for octet in range(0x100) if octet not in set(plain)]
    return {chr(octet): octet for octet in plain} | {chr(0x100 + i): octet for i, octet in enumerate(others)}


_BYTE_OF = _byte_alphabet()
_CHARACTER_OF = {octet: character for character, octet in _BYTE_OF.items()}


def write_octets(octets: bytes) -> str:
    """Bytes as byte-level tokenizers write them in their token strings."""
    return "".join(map(_CHARACTER_OF.__getitem__, octets))
