"""Which tokens a tokenizer never produces, by looking for a text that makes it produce each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_BATCH = 8192  # encodings held at once
_RARE_LETTERS = 3


def unreachable(
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
        found = encode([written[i] for i in batch])
        left.update({i: texts[i] for i, ids in zip(batch, found, strict=True) if i not in ids})
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
