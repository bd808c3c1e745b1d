"""Which states of which prompts become rows, and what those rows are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.files.looking import one_line
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Encoding, Tokenizer

__all__ = ["KINDS", "ContextVocabulary", "Rows", "read_rows"]

KINDS = ("every", "words", "last")
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


class ContextVocabulary(WordVocabulary):
    """Rows that are words in their contexts: one word has many rows, so none is the word's own."""

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Nothing: properties of word lists are skipped."""
        return [() for _ in words]


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts as ids, and by row: which prompt, and which position in it."""

    encoded: tuple[tuple[int, ...], ...]
    places: tuple[tuple[int, int], ...]
    vocabulary: WordVocabulary


def read_rows(tokenizer: Tokenizer, prompts: Sequence[str], states: str) -> Rows:
    """Encode prompts as the model expects them, and find the positions that ``states`` asks for."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    try:
        with RustErrors("the tokenizer"):
            encodings = tokenizer.encode_batch(list(prompts))
    except ValueError as error:
        raise SourceError(f"the prompts can't be encoded: {one_line(error)}") from None
    surfaces = _surfaces(tokenizer) if states == "every" else []
    places, names = [], []
    for at, (prompt, encoding) in enumerate(zip(prompts, encodings, strict=True)):
        own = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        if not own:
            raise SourceError(f"the prompt {prompt!r} has no token of its own; leave it out")
        if states == "every":
            found = [(i, surfaces[encoding.ids[i]]) for i in own]
        else:
            found = [(own[-1], prompt)] if states == "last" else list(_words(prompt, encoding, own))
        places += [(at, i) for i, _ in found]
        names += [name for _, name in found]
    vocabulary = WordVocabulary(names, special=()) if states == "last" else ContextVocabulary(names, special=())
    return Rows(tuple(tuple(encoding.ids) for encoding in encodings), tuple(places), vocabulary)


def _words(prompt: str, encoding: Encoding, own: Sequence[int]) -> Iterator[tuple[int, str]]:
    """The last token of each word, and the word."""
    for word in _WORD.finditer(prompt):
        inside = [i for i in own if encoding.offsets[i][0] < word.end() and encoding.offsets[i][1] > word.start()]
        if inside:
            yield inside[-1], word.group()


def _surfaces(tokenizer: Tokenizer) -> Sequence[str]:
    return TokenizerVocabulary(tokenizer, rows=tokenizer.get_vocab_size(with_added_tokens=True)).tokens
