"""A vocabulary read from a tokenizer: surface forms, classes, which tokens no text leads to, words to rows."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files import one_line
from embcheck.sources.tokenizers.surface import Notation, Surface, notation
from embcheck.table.vocabulary import RowStatus, TokenKind, classify, is_unused
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray
    from tokenizers import AddedToken, Tokenizer

_UNWRITABLE = "\U0010fffd"  # a private-use character, which no vocabulary has
_HOLE = Surface("", TokenKind.OTHER, None)
_BATCH = 512  # encodings held at once: what caches hold; 8,192 took a fifth longer, and more
_RARE_LETTERS = 3
_LONGEST_TOKEN = 2**16
_RANDOM = frozenset({"dropout", "alpha", "nbest_size"})  # of BPE and of Unigram


class TokenizerVocabulary:
    """The tokens of a `tokenizers.Tokenizer`, as far as a matrix has rows for them.

    Padding and truncation of the tokenizer, and what is random in it, are switched off.
    """

    has_words = True
    in_contexts = False

    def __init__(self, tokenizer: Tokenizer, *, rows: int, origin: str = "the tokenizer") -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        calm(tokenizer)
        self._tokenizer = tokenizer
        with RustErrors(origin):
            own = tokenizer.get_vocab(with_added_tokens=False)
            added = tokenizer.get_added_tokens_decoder()
            how = notation(tokenizer)
        _refuse_overflow(own, added, rows, origin)
        self._own, self._how = own, how
        self._added = {i: token for i, token in added.items() if i < rows}
        past = len(added) - len(self._added)
        said = counted(past, "added tokens have ids", "added token has an id")
        self.notes: tuple[str, ...] = (f"{said} past the matrix's {rows} rows, and no vector",) if past else ()

    # What the tokens are is worked out when it is first asked for: it takes longer than reading the matrix.

    @cached_property
    def _surfaces(self) -> list[Surface]:
        return _read_surfaces(self._own, self._added, self._how)

    @cached_property
    def tokens(self) -> list[str]:
        """Surface forms by row."""
        return [surface.form for surface in self._surfaces]

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """``TokenKind`` by row."""
        surfaces = self._surfaces
        kinds = np.fromiter((surface.kind for surface in surfaces), dtype=np.uint8, count=len(surfaces))
        unknown = [row for row in self._unknown if row < len(surfaces) and not _is_unused(surfaces[row])]
        kinds[unknown] = TokenKind.SPECIAL
        return kinds

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` by row."""
        status = np.full(len(self._surfaces), RowStatus.KNOWN, dtype=np.uint8)
        texts, inside = {}, set()
        for row, (surface, kind) in enumerate(zip(self._surfaces, self.kinds.tolist(), strict=True)):
            if _is_unused(surface):
                status[row] = RowStatus.UNUSED
            elif kind == TokenKind.SPECIAL:
                status[row] = RowStatus.SPECIAL
            elif surface.impossible or surface.text == "":
                status[row] = RowStatus.UNREACHABLE
            elif surface.text:
                texts[row] = surface.text
                if surface.inside:
                    inside.add(row)
        never = find_unreachable(self._ids, texts, inside=frozenset(inside))
        status[sorted(never)] = RowStatus.UNREACHABLE
        return status

    @cached_property
    def _bare_space(self) -> frozenset[int]:
        return frozenset(row for row, form in enumerate(self.tokens) if form == " ")

    def encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Rows of each word; empty where it can't be written without an unknown token.

        Of the word behind a space and the word alone, the one in fewer tokens; of equals the one behind a space.
        """
        pairs = zip(self._ids([f" {word}" for word in words]), self._ids(list(words)), strict=True)
        return [min(filter(None, map(self._drop_spaces, pair)), key=len, default=()) for pair in pairs]

    def _drop_spaces(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The ids without a space that stands alone; none if one is unknown or has no row."""
        if any(i in self._unknown or i >= len(self.tokens) for i in ids):
            return ()
        return tuple(i for i in ids if i not in self._bare_space)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, none for those that the tokenizer refuses."""
        try:
            with RustErrors("the tokenizer"):
                return [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except SourceError:  # it has no token for unknown text: find the texts that it can write, by halving
            if len(texts) == 1:
                return [[]]
        middle = len(texts) // 2
        return self._ids(texts[:middle]) + self._ids(texts[middle:])

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The token that stands for text which can't be written, if there is one."""
        try:
            with RustErrors("the tokenizer"):
                ids = {token.id for token in self._tokenizer.model.tokenize(_UNWRITABLE)}
        except SourceError:
            return frozenset()
        return frozenset(i for i in ids if i >= len(self.tokens) or self._surfaces[i].kind != TokenKind.BYTE)


def calm(tokenizer: Tokenizer) -> None:
    """Switch off what makes a tokenizer cut the same text differently every time, as some are trained."""
    model = tokenizer.model
    for setting in _RANDOM & set(dir(model)):
        setattr(model, setting, None)


class RustErrors:
    """Turn what `tokenizers` raises into `SourceError`: plain ``Exception``, and panics of a class not exported."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Raise `SourceError` for exactly those classes; others pass."""
        if kind is not None and (kind is Exception or kind.__name__ == "PanicException"):
            raise SourceError(f"{self._origin} is malformed: {one_line(error)}; get the file again") from None


def _refuse_overflow(own: dict[str, int], added: dict[int, AddedToken], rows: int, origin: str) -> None:
    if (longest := max(map(len, [*own, *(token.content for token in added.values())]), default=0)) > _LONGEST_TOKEN:
        raise SourceError(f"{origin} has a token of {longest} characters; at most {_LONGEST_TOKEN} are read")
    ids = {i for i in own.values() if i not in added}
    if not ids and not added:
        raise SourceError(f"{origin} has no tokens; get the file again")
    if ids and max(ids) >= rows:
        raise SourceError(
            f"{origin} has token ids up to {max(ids)} but the embedding matrix has only {rows} rows; "
            "give the tokenizer that belongs to these weights"
        )


def _read_surfaces(own: dict[str, int], added: dict[int, AddedToken], how: Notation) -> list[Surface]:
    """Surface forms by row, with holes filled."""
    surfaces = {i: how.read(raw) for raw, i in own.items() if i not in added}
    surfaces.update({i: _read_added(token) for i, token in added.items()})
    return [surfaces.get(row, _HOLE) for row in range(max(surfaces, default=-1) + 1)]


def _is_unused(surface: Surface) -> bool:
    return surface is _HOLE or is_unused(surface.form)


def _read_added(token: AddedToken) -> Surface:
    """A token added to the vocabulary: text that a user taught it, unless its own flag says that it is markup."""
    content = token.content
    if token.special:
        return Surface(content, TokenKind.SPECIAL, None)
    return Surface(content, classify(content, starts_word=True), content)


def find_unreachable(
    encode: Callable[[list[str]], list[list[int]]], texts: Mapping[int, str], *, inside: frozenset[int]
) -> set[int]:
    """Find the tokens without a witness.

    A token is reachable when its id occurs in the encoding of its own text, alone or next to an anchor. The first
    anchors are letters that merge with nothing, so that what stands next to them is cut as it is inside a word.
    """
    left = {i: text for i, text in texts.items() if text}
    for before, after in _contexts(left.values()):
        skipped = {} if before else {i: text for i, text in left.items() if i in inside}
        tried = {i: text for i, text in left.items() if i not in skipped}
        left = skipped | _without_witness(encode, {i: f"{before}{text}{after}" for i, text in tried.items()}, tried)
    # a tokenizer that puts a space before every text needs the word without its own
    bare = {i: text.removeprefix(" ") for i, text in left.items() if text.startswith(" ")}
    return set(left) - (set(bare) - set(_without_witness(encode, bare, bare)))


def _without_witness(
    encode: Callable[[list[str]], list[list[int]]], written: Mapping[int, str], texts: Mapping[int, str]
) -> dict[int, str]:
    """Those of ``texts`` whose ids don't occur in the encoding of what is ``written`` for them."""
    left = {}
    for batch in _batches(list(written)):
        encoded = encode([written[i] for i in batch])
        left.update({i: texts[i] for i, ids in zip(batch, encoded, strict=True) if i not in ids})
    return left


def _batches(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def _contexts(texts: Iterable[str]) -> list[tuple[str, str]]:
    """What to put before and after a token's text, the likeliest to bear witness first."""
    letters = _rare_letters(texts)
    before = ["", *letters, "\n", "ᚠ", "1", "a", "("]
    return [*((anchor, "") for anchor in before), *(("", anchor) for anchor in (*letters, "a"))]


def _rare_letters(texts: Iterable[str]) -> list[str]:
    """Letters of the vocabulary that begin no longer token, the simplest first: nothing merges with them."""
    begun: Counter[str] = Counter()
    alone: set[str] = set()
    for text in texts:
        core = text.removeprefix(" ")
        if len(core) == 1:
            alone.add(core)
        elif core:
            begun[core[0]] += 1
    letters = sorted(c for c in alone if c.isalpha() and not begun[c] and c == c.lower())
    return letters[:_RARE_LETTERS]
