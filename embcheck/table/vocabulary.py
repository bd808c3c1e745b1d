"""Vocabularies: the surface form and class of every row, and how words resolve to rows."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from embcheck.errors import UsageError
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "Coverage",
    "NamedRows",
    "RowNumbers",
    "RowStatus",
    "SubsetVocabulary",
    "TokenKind",
    "Vocabulary",
    "WordVectors",
    "WordVocabulary",
    "classify",
    "classify_words",
    "is_uncased",
    "is_unused",
    "repeated",
    "script_of",
    "word_key",
]

_UNUSED = re.compile(
    r"[\[<(|]+(?:unused|reserved|extra_id|dummy|placeholder|empty|pad_token|ununsed)[\w-]*[|)>\]]+", re.IGNORECASE
)
CONTINUATION = "##"
_BRACKETS = frozenset("[<({|")
_FEW_CAPITALS = 0.01
_EXACT = re.compile(r'"(.+)"', re.DOTALL)


class TokenKind(IntEnum):
    """What a token is, as text."""

    OTHER = 0
    ASCII_CHARACTER = 1
    """One visible ASCII character without a leading space."""
    BYTE = 2
    """A byte fallback such as ``<0x0A>``, or bytes that are no text by themselves."""
    CONTROL = 3
    """Only white space and control characters."""
    SPECIAL = 4
    WORD_START = 5
    """Letters that begin a word (after a space, or in a vocabulary of whole words)."""
    WORD_INSIDE = 6
    """Letters that continue a word, or stand without a leading space where others have one."""


class RowStatus(IntEnum):
    """Why a row is, or is not, in the population of known rows."""

    KNOWN = 0
    PADDING = 1
    """Past the end of the tokenizer."""
    NON_FINITE = 2
    ZERO = 3
    SPECIAL = 4
    UNUSED = 5
    """Reserved by name, such as ``[unused7]``."""
    UNREACHABLE = 6
    """No text was found that the tokenizer turns into it."""


class Vocabulary(Protocol):
    """What a source knows of the rows' tokens. Rows past ``len(tokens)`` are padding."""

    @property
    def tokens(self) -> Sequence[str]:
        """Surface forms by row: decoded text, a leading space where the token has one, ``##`` kept."""
        ...

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """``TokenKind`` by row."""
        ...

    @property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row as far as text tells: KNOWN, SPECIAL, UNUSED or UNREACHABLE."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether rows are tokens or words; where they are documents or bare vectors, no claim about words applies."""
        ...

    @property
    def in_contexts(self) -> bool:
        """Whether a word has a row for each of its contexts, so that row ids are no ids of tokens."""
        ...

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Rows of each word, the form with a leading space first; empty where it can't be written."""
        ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """How the words of a list resolved. Words pooled from several tokens are used only where asked for."""

    single: int
    pooled: int
    missing: tuple[str, ...]
    bare: tuple[str, ...] = ()
    """Single words taken without the leading space that others have: behind a space they are no token."""

    def record(self) -> dict[str, Any]:
        """Counts, and up to 20 of the missing words (and of the bare ones, where there are any), as JSON types."""
        bare = {"bare": len(self.bare), "bare_words": list(self.bare[:20])} if self.bare else {}
        return {
            "single": self.single,
            "pooled": self.pooled,
            "missing": len(self.missing),
            "missing_words": list(self.missing[:20]),
            **bare,
        }


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Vectors of the words that resolved: ``vectors`` is (n, d) float32 or better, ``rows`` their token rows."""

    words: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    vectors: Tensor
    coverage: Coverage


class WordVocabulary:
    """A vocabulary of whole words, one a row, as word vectors have it.

    In an uncased vocabulary (`is_uncased`) words are looked up in lower case too. Of rows with the same word only the
    first is that word; nothing leads to the others, which are left out unless rows ``may_repeat`` a word,
    as those of one word in several contexts do.
    """

    has_words = True
    in_contexts = False

    def __init__(
        self,
        words: Iterable[str],
        special: Iterable[str] = ("<unk>", "<s>", "</s>", "<pad>"),
        *,
        may_repeat: bool = False,
    ) -> None:
        self.tokens: list[str] = list(words)
        self._special = frozenset(special)
        self._repeats = np.zeros(0, dtype=np.int64) if may_repeat else repeated(self.tokens)
        self.notes: tuple[str, ...] = ()
        if len(self._repeats):
            said = "rows repeat a word, and are left out", "row repeats a word, and is left out"
            self.notes = (counted(len(self._repeats), *said),)

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """``TokenKind`` by row."""
        kinds = classify_words(self.tokens)
        kinds[self._marked] = TokenKind.SPECIAL
        return kinds

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row."""
        status = np.full(len(self.tokens), RowStatus.KNOWN, dtype=np.uint8)
        status[[row for row, word in enumerate(self.tokens) if is_unused(word)]] = RowStatus.UNUSED
        status[self._marked] = RowStatus.SPECIAL
        status[self._repeats] = RowStatus.UNREACHABLE
        return status

    @cached_property
    def _marked(self) -> list[int]:
        return [row for row, word in enumerate(self.tokens) if word in self._special]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return dict(zip(reversed(self.tokens), range(len(self.tokens) - 1, -1, -1), strict=True))  # the first row stays

    @cached_property
    def _uncased(self) -> bool:
        return is_uncased(self.tokens)

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The row of each word; empty where there is none. Words are never split."""
        rows: list[tuple[int, ...]] = []
        for word in words:
            row = self._rows.get(word)
            if row is None and self._uncased:
                row = self._rows.get(word.lower())
            rows.append(() if row is None else (row,))
        return rows


class RowNumbers(Sequence[str]):
    """``#0``, ``#1`` and so on, as rows are named that nothing else names."""

    def __init__(self, count: int) -> None:
        self._rows = range(count)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """The name of a row, or of several."""
        return [f"#{each}" for each in self._rows[row]] if isinstance(row, slice) else f"#{self._rows[row]}"

    def hashes(self, seed: int) -> NDArray[np.uint64]:
        """A hash of (seed, number) for each: SplitMix64 (Steele, Lea and Flood 2014) of the seed's stream."""
        start = int.from_bytes(hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=8).digest(), "little")
        state = np.uint64(start) + np.arange(1, len(self) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        return state ^ (state >> np.uint64(31))


class NamedRows:
    """Rows that are no words, each with a name of its own: a document's text or id, or `RowNumbers`.

    All of them count, those of equal names too. No word leads to any.
    """

    has_words = False
    in_contexts = False
    notes: tuple[str, ...] = ()

    def __init__(self, names: Sequence[str]) -> None:
        self.tokens = names
        self.kinds = np.full(len(names), TokenKind.OTHER, dtype=np.uint8)
        self.status = np.full(len(names), RowStatus.KNOWN, dtype=np.uint8)

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """No row for any word."""
        return [() for _ in words]


class SubsetVocabulary:
    """Some rows of another vocabulary, renumbered in the order given; words that need other rows are missing."""

    def __init__(self, whole: Vocabulary, rows: NDArray[np.int64]) -> None:
        self._whole, self._old = whole, rows
        self.has_words, self.in_contexts = whole.has_words, whole.in_contexts

    @cached_property
    def tokens(self) -> list[str]:
        """Surface forms by row."""
        return [self._whole.tokens[row] for row in self._old.tolist()]

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """``TokenKind`` by row."""
        return self._whole.kinds[self._old]

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row."""
        return self._whole.status[self._old]

    @cached_property
    def _new(self) -> dict[int, int]:
        return {old: new for new, old in enumerate(self._old.tolist())}

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Rows of each word in the new numbering."""
        rows = []
        for ids in self._whole.encode(words):
            kept = tuple(self._new[i] for i in ids if i in self._new)
            rows.append(kept if len(kept) == len(ids) else ())
        return rows


def repeated(texts: Sequence[str]) -> NDArray[np.int64]:
    """Rows whose text an earlier row has, ascending. Only texts of equal hashes are compared."""
    hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
    ordered = np.sort(hashes)
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    earlier: set[str] = set()
    rows = []
    for row in np.flatnonzero(np.isin(hashes, doubled)).tolist():
        if texts[row] in earlier:
            rows.append(row)
        earlier.add(texts[row])
    return np.array(rows, dtype=np.int64)


def is_unused(token: str) -> bool:
    """Whether a token is reserved by its name, such as ``[unused7]`` or ``<|reserved_special_token_3|>``."""
    return bool(token) and token[0] in "[<(|" and _UNUSED.fullmatch(token) is not None


def is_uncased(words: Iterable[str]) -> bool:
    """Whether a list is of words in lower case: of those whose letters have a case, hardly any (1%) has a capital.

    Special tokens, such as ``[CLS]`` or ``<PAD>``, are no words. Lists of cased text have ten times as many capitals.
    """
    words = [word for word in words if word.lstrip()[:1] not in _BRACKETS]
    capitals = sum(word != word.lower() for word in words)
    return not capitals or capitals < _FEW_CAPITALS * sum(word.lower() != word.upper() for word in words)


def classify(surface: str, *, starts_word: bool | None = None) -> TokenKind:
    """Class of a token that is text (neither special nor bytes)."""
    # where words are whole, "##" is text: word2vec writes digits like that
    core = surface.removeprefix(CONTINUATION) if starts_word is False and len(surface) > len(CONTINUATION) else surface
    if len(core) == 1 and "!" <= core <= "~":
        return TokenKind.ASCII_CHARACTER
    text = core.strip()
    if text.isalpha():  # asked first, for it settles most tokens
        begins = core.startswith(" ") if starts_word is None else starts_word
        return TokenKind.WORD_START if begins else TokenKind.WORD_INSIDE
    if text and text.isprintable():  # as most others: its first character is no space, and no control character
        return TokenKind.OTHER
    if all(c.isspace() or unicodedata.category(c) in {"Cc", "Cf"} for c in text):
        return TokenKind.CONTROL
    return TokenKind.OTHER


def classify_words(words: Sequence[str]) -> NDArray[np.uint8]:
    """(n,) `classify` of whole words. Most are of letters alone, which is told of all of them at once."""
    is_alpha = np.fromiter(map(str.isalpha, map(str.strip, words)), dtype=np.bool_, count=len(words))
    is_long = np.fromiter(map(len, words), dtype=np.int64, count=len(words)) > 1
    kinds = np.full(len(words), TokenKind.WORD_START, dtype=np.uint8)
    others = np.flatnonzero(~(is_alpha & is_long))
    kinds[others] = [classify(words[row], starts_word=True) for row in others.tolist()]
    return kinds


def script_of(surface: str) -> str | None:
    """The writing system that all letters of a token belong to, such as ``CYRILLIC``; none where they are of several.

    It is the first word of the name that Unicode gives a letter in its compatibility form (NFKC), so that ``CJK`` are
    Chinese characters in whatever language, and kana are ``HIRAGANA`` and ``KATAKANA``.
    """
    if surface.isascii():
        return "LATIN" if any(map(str.isalpha, surface)) else None
    scripts = {_script_of_character(character) for character in surface if character.isalpha()}
    return scripts.pop() if len(scripts) == 1 else None


@cache
def _script_of_character(character: str) -> str:
    return unicodedata.name(unicodedata.normalize("NFKC", character)[0], "").partition(" ")[0]


def exact_token(text: str) -> str | None:
    """The token that a text in double quotes names, written exactly so; ``None`` for a text that is a word."""
    if not isinstance(text, str):
        raise UsageError(f"a word is a text, got {type(text).__name__} {text!r}")
    match = _EXACT.fullmatch(text)
    return match[1] if match else None


def refuse_blank(word: str) -> None:
    """Refuse a word of nothing, or of nothing but spaces, by its name."""
    if not word.strip():
        way_out = "; a token of spaces goes in double quotes of its own, or by its #ID" if word else ""
        raise UsageError(f"the word {word!r} is {'blank' if word else 'empty'}{way_out}")


def refuse_text(given: object, what: str) -> None:
    """Refuse a text where a list of texts is wanted: it would be taken letter by letter."""
    if isinstance(given, str | bytes):
        raise UsageError(f"{what} must be a list of texts, got the text {given!r}; write [{given!r}]")


def word_key(surface: str) -> str:
    """The form under which case and space variants of one word are counted once."""
    return surface.strip().casefold() or surface


def tokens_sha256(tokens: Iterable[str]) -> str:
    """Hash over surface forms in row order, each with its length so that no two lists collide."""
    digest = hashlib.sha256()
    for token in tokens:
        raw = token.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()
