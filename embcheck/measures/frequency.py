"""How frequent words are: by a file of counts, the package wordfreq, or the row id as a stand-in."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embcheck import files
from embcheck.errors import NotMeasurable, UsageError
from embcheck.table.vocabulary import TokenKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["Counted", "look_up"]

_PROXY = (
    "Frequency is read off the row id, a proxy: smaller ids are more frequent where a tokenizer was built by frequency."
)
_SUFFIXES = frozenset({".json", ".tsv"})


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Words with their frequency, in hash order: ``rows`` and ``frequency`` (n,), of ``asked`` words looked up.

    ``logarithm`` is that of the frequency; where the row id stands in, minus that of the rank among all words (Zipf).
    """

    rows: Ints
    frequency: Floats
    logarithm: Floats
    source: str
    note: str
    asked: int


def look_up(table: EmbeddingTable, frequency: str) -> Counted:
    """All tokens that begin a word and have a frequency above zero."""
    words = table.of_kind(TokenKind.WORD_START)
    order = table.probes(len(words), among=words)
    if frequency == "id":
        ranks = np.searchsorted(words, order) + 1.0
        return Counted(order, -order.astype(np.float64), -np.log(ranks), "row id as a proxy", _PROXY, len(order))
    find, source = _lookup(frequency)
    values = np.fromiter(map(find, table.texts(order)), dtype=np.float64, count=len(order))
    rows, values = order[values > 0], values[values > 0]
    note = f"Frequency from {source}: {len(rows)} of {len(order)} words looked up have one."
    return Counted(rows, values, np.log(values), source, note, len(order))


def _lookup(frequency: str) -> tuple[Callable[[str], float], str]:
    if frequency == "wordfreq":
        return _wordfreq(), "wordfreq (en)"
    path = Path(frequency)
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"frequency must be 'id', 'wordfreq' or a .json or .tsv file of counts, got {frequency!r}")
    counts = _read(path)

    def find(token: str) -> float:
        return counts.get(token, counts.get(token.strip(), 0.0))

    return find, path.name


def _wordfreq() -> Callable[[str], float]:
    try:
        package = importlib.import_module("wordfreq")
    except ImportError:
        raise NotMeasurable("frequencies need the package wordfreq: pip install wordfreq, or give a file") from None
    return lambda token: float(package.word_frequency(token.strip(), "en"))


def _read(path: Path) -> dict[str, float]:
    try:
        text = files.read(path, most=2**30).decode("utf-8")
    except (OSError, ValueError) as why:
        raise UsageError(f"counts file {path}: {why}") from None
    try:
        lines = (line.rsplit("\t", 1) for line in text.split("\n") if line)
        pairs = json.loads(text).items() if path.suffix.lower() == ".json" else lines
        counts = {str(token): float(count) for token, count in pairs}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as why:
        raise UsageError(f"counts file {path}: expected one token and one count each; {why}") from None
    if bad := [token for token, count in counts.items() if not (math.isfinite(count) and count >= 0)]:
        raise UsageError(f"counts file {path}: the count of {bad[0]!r} is {counts[bad[0]]}; counts are 0 or more")
    return counts
