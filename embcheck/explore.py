"""Looking at one model by hand: what a spec holds, one token against all, neighbours, one analogy.

Each function gives a document of JSON types, which the command of its name prints or writes as JSON. In Python
``table.nearest``, ``table.probe`` and ``table.analogy`` are the shorter way to the same numbers.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from embcheck import sources
from embcheck.checks.record import plain
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures import analogy_accuracy
from embcheck.measures.kernels import blocks, probe_cosines
from embcheck.measures.resolve import forms_of, listed
from embcheck.settings import current
from embcheck.spec import parse
from embcheck.table.vocabulary import RowStatus, TokenKind, exact_token, refuse_blank, refuse_text
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import SupportsIndex

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.lexicons import Questions
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = [
    "analogy",
    "answers",
    "cosines_of",
    "inspect",
    "neighbors",
    "parse_analogy",
    "probe",
    "probe_random",
    "require_single",
    "similarity",
    "tokens",
]

_ROW = re.compile(r"#(\d+)")
_TERM = re.compile(r'"(?:"|[^"]+)"(?!\S)|\S+')  # what stands in double quotes may hold spaces
_FIRST = 10  # rows that a probe names at either end
_PAIRS = 10_000
_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    rows: tuple[int, ...]
    vector: Tensor
    """(d,) of length 1, in the accumulator's dtype."""
    surface: str
    """Its token as written, whichever way it was asked for; of several tokens the text."""


def inspect(
    table: EmbeddingTable, *, spec: ModelSpec | None = None, source: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a table holds: what is read of its spec, row classes, norms and token kinds.

    ``spec`` and ``source``, which is what its source says of the spec, are those that the table was read from; of a
    table in memory ``source`` is empty.
    """
    norms = table.norms.cpu().double().numpy()[table.population]
    kinds = Counter(TokenKind(int(kind)) for kind in table.vocabulary.kinds[: len(table.vectors)])
    origin = table.provenance
    spec = spec or parse(origin.spec)
    if source is None:
        source = {} if origin.spec == "memory" else sources.describe(spec).record()
    return _plain(
        {
            "alias": spec.alias,
            "spec": spec.text,
            "source": source,
            "shape": origin.shape,
            "dtype": origin.dtype,
            "weights_sha256": origin.weights_sha256,
            "tokens_sha256": table.tokens_sha256,
            "notes": origin.notes,
            "population": {"kind": table.kind, "rows": len(table.population), "excluded": table.excluded()},
            "norms": {f"{level:g}": float(np.quantile(norms, level)) for level in _LEVELS},
            "scale": origin.scale,
            "token_kinds": {kind.name.lower(): kinds[kind] for kind in sorted(kinds)},
        }
    )


def probe(table: EmbeddingTable, text: str | SupportsIndex) -> dict[str, Any]:
    """Cosines of one token (a word, a token in double quotes, ``#ID`` or ID) with every other row of the population."""
    row, rows, cosine = cosines_of(table, text)
    negative = np.flatnonzero(cosine < 0)
    breaks = np.flatnonzero(np.diff(rows[negative]) != 1) + 1
    count = len(rows)
    return _plain(
        {
            "anchor": {"id": row, "token": table.token(row), "in_population": bool(table.in_population[row])},
            "others": count,
            "min": cosine.min(),
            "max": cosine.max(),
            "mean": cosine.mean(),
            "median": np.median(cosine),
            "non_negative": count - len(negative),
            "negative": len(negative),
            "share": (count - len(negative)) / count,
            "nearest": _named(table, rows, cosine, np.argsort(-cosine, kind="stable")[:_FIRST]),
            "farthest": _named(table, rows, cosine, np.argsort(cosine, kind="stable")[:_FIRST]),
            "negative_runs": [run[[0, -1]].tolist() for run in np.split(rows[negative], breaks) if len(run)],
            "negative_tokens": listed(table, rows[negative], cosine=cosine[negative]),
        }
    )


def cosines_of(table: EmbeddingTable, text: str | SupportsIndex) -> tuple[int, NDArray[np.int64], NDArray[np.float64]]:
    """The row of one token, the other rows of the population, ascending, and its cosine with each."""
    require_single(table, [text])
    word = _find(table, text)
    row = word.rows[0]
    others = table.population != row
    rows, cosine = table.population[others], _cosines(table, [word])[0][others]
    return row, rows, cosine


def require_single(table: EmbeddingTable, words: Sequence[str | SupportsIndex]) -> None:
    """Refuse a word of several tokens: their mean is no row of the matrix, and resembles other means."""
    for text in map(_asked, words):
        rows = _rows(table, text)
        if len(rows) > 1:
            parts = ", ".join(f"{table.token(row)!r} (#{row})" for row in rows)
            raise UsageError(f"{text!r} is {len(rows)} tokens here: {parts}; give one of them, such as '#{rows[0]}'")


def probe_random(table: EmbeddingTable, count: int) -> dict[str, Any]:
    """The statistics of `probe` for tokens drawn from the population, without replacement by the seed, and their means.

    The median is that of cosines rounded to multiples of 1/32,767.
    """
    rows = table.probes(count)
    if len(table.population) < 2:
        raise NotMeasurable(f"{counted(len(table.population), 'rows')}: there is nothing to compare a token with")
    statistics = probe_cosines.probe_statistics(table, rows, median=True)
    columns = {
        "min": statistics.minimum,
        "max": statistics.maximum,
        "mean": statistics.mean,
        "median": statistics.median,
        "non_negative": statistics.non_negative,
        "negative": statistics.others - statistics.non_negative,
        "share": statistics.share,
    }
    return _plain(
        {
            "seed": current().seed,
            "others": statistics.others,
            "averaged": {name: float(values.mean()) for name, values in columns.items()},
            "drawn": listed(table, rows, **columns),
        }
    )


def tokens(table: EmbeddingTable, words: Sequence[str]) -> dict[str, Any]:
    """How words split into tokens, which other tokens are spelt like them, and the row that a claim would use.

    A claim is about words that are one token of the population; for any other ``row`` is none, and ``why`` tells.
    """
    refuse_text(words, "words")
    return _plain({"words": [_split(table, word) for word in words]})


def similarity(table: EmbeddingTable, first: str | SupportsIndex, second: str | SupportsIndex) -> dict[str, Any]:
    """Cosine, dot product and distance of two words, and how many of 10,000 random pairs of rows are less similar.

    ``ranks`` says which neighbour by cosine each is of the other, among all other rows of the population.
    """
    pair = [_find(table, text) for text in (first, second)]
    a, b = (table.gather(np.array(word.rows)).to(table.accumulator).mean(0) for word in pair)
    values = {"cosine": float(pair[0].vector @ pair[1].vector), "dot": float(a @ b), "distance": float((a - b).norm())}
    drawn = _random_pairs(table)
    below = {
        name: float((values[name] < random if name == "distance" else values[name] > random).mean())
        for name, random in drawn.items()
    }
    scores = _cosines(table, pair)
    ranks = [_rank_among(table, own, word, other) for own, word, other in zip(scores, pair, pair[::-1], strict=True)]
    return _plain(
        {
            "words": [_described(table, word) for word in pair],
            **values,
            "percentiles": {name: 100 * share for name, share in below.items()},
            "random_pairs": _PAIRS,
            "seed": current().seed,
            "ranks": ranks,
            "rows": len(table.population),
        }
    )


def neighbors(table: EmbeddingTable, text: str | SupportsIndex, k: int = 10, *, merge: bool = False) -> dict[str, Any]:
    """The k rows nearest to a word (``#ID`` or ID; several tokens: their mean) by cosine, its own tokens left out.

    With ``merge`` the case and space variants of a word count once, and those of the word itself are left out.
    """
    word = _find(table, text)
    scores = _cosines(table, [word])[0]
    scores[np.isin(table.population, word.rows)] = -np.inf
    if merge:
        scores = _merged(table, scores, [word.surface])
    order = _best(scores, k)
    return _plain(
        {
            "word": _described(table, word),
            "merged": merge,
            "neighbors": listed(table, table.population[order], cosine=scores[order]),
        }
    )


def analogy(table: EmbeddingTable, question: str, k: int = 10) -> dict[str, Any]:
    """3CosAdd: the k rows nearest to ``a - b + c``, of unit vectors, and each word's rank; variants of one count once.

    The question is read as `parse_analogy` does, and a word of several tokens is their mean.
    """
    words = parse_analogy(question)
    terms = [_find(table, text) for text in words]
    a, b, c = terms[:3]
    query = _unit(a.vector - b.vector + c.vector, f"{words[0]} - {words[1]} + {words[2]}")
    scores = _cosines(table, [_Word("", (), query, "")])[0]
    kept = _merged(table, scores, [])
    excluded = _merged(table, scores, [term.surface for term in terms[:3]])
    both = {"sources_excluded": excluded, "sources_kept": kept}
    lists = {}
    for name, these in both.items():
        order = _best(these, k)
        lists[name] = listed(table, table.population[order], cosine=these[order])
    ranks = {term.text: {name: _rank(table, these, term.surface) for name, these in both.items()} for term in terms}
    return _plain({"words": [_described(table, word) for word in terms], "ranks": ranks, **lists})


def answers(
    table: EmbeddingTable, questions: Questions, *, restrict: int | None, keep_case: bool, keep_sources: bool
) -> dict[str, Any]:
    """How many questions of a file are answered rightly, section by section, under the rules given."""
    estimate = analogy_accuracy(table, questions, restrict=restrict, fold_case=not keep_case, keep_sources=keep_sources)
    return _plain(
        {"accuracy": estimate.value, "asked": estimate.n, **estimate.details, "wrong": estimate.counterexamples}
    )


def parse_analogy(question: str) -> list[str]:
    """The words a, b, c and, if it is given, the target of ``a - b + c = target``; `UsageError` where it is not one."""
    match _TERM.findall(question) if isinstance(question, str) else ():
        case [a, "-", b, "+", c] | [a, "+", c, "-", b]:
            return [a, b, c]
        case [a, "-", b, "+", c, "=", target] | [a, "+", c, "-", b, "=", target]:
            return [a, b, c, target]
    raise UsageError(
        f"analogy {question!r}: write it as king - man + woman, or king - man + woman = queen, in one text, with spaces"
    )


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", plain(document))


def _named(
    table: EmbeddingTable, rows: NDArray[np.int64], cosine: NDArray[np.float64], chosen: NDArray[np.int64]
) -> list[dict[str, Any]]:
    return listed(table, rows[chosen], cosine=cosine[chosen])


def _random_pairs(table: EmbeddingTable) -> dict[str, NDArray[np.float64]]:
    """Cosine, dot product and distance of pairs of two different rows of the population, drawn by the seed."""
    rows = table.population
    if len(rows) < 2:
        raise NotMeasurable(f"{counted(len(rows), 'rows')}: there are no pairs to compare with")
    rng = np.random.default_rng(current().seed)
    first = rng.integers(0, len(rows), _PAIRS)
    second = (first + rng.integers(1, len(rows), _PAIRS)) % len(rows)
    parts: dict[str, list[NDArray[np.float64]]] = {"cosine": [], "dot": [], "distance": []}
    for part in table.slices(_PAIRS):
        a, b = (table.gather(rows[side[part]]).to(table.accumulator) for side in (first, second))
        dot = (a * b).sum(1)
        for name, values in (
            ("cosine", dot / a.norm(dim=1) / b.norm(dim=1)),
            ("dot", dot),
            ("distance", (a - b).norm(dim=1)),
        ):
            parts[name].append(values.cpu().double().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _rank_among(table: EmbeddingTable, scores: NDArray[np.float64], word: _Word, other: _Word) -> int | None:
    """Which neighbour of a word another one is; none where that is no row of the population, or the word itself."""
    position = np.flatnonzero(table.population == other.rows[0])
    if len(other.rows) > 1 or other.rows == word.rows or not len(position):
        return None
    others = ~np.isin(table.population, word.rows)
    return int((scores[others] > scores[position[0]]).sum()) + 1


# --- words ------------------------------------------------------------------------------------------------------


def _asked(word: str | SupportsIndex) -> str:
    """A word as a text; the number of a row, as ``Neighbor.id`` is, as ``#ID``."""
    if isinstance(word, str):
        return word
    try:
        return f"#{operator.index(word)}"
    except TypeError:
        raise UsageError(f"a word is a text or the number of a row, got {type(word).__name__} {word!r}") from None


def _find(table: EmbeddingTable, word: str | SupportsIndex) -> _Word:
    text = _asked(word)
    rows = _rows(table, text)
    vector = table.gather(np.array(rows)).to(table.accumulator).mean(0)
    surface = table.token(rows[0]) if len(rows) == 1 else text
    return _Word(text, rows, _unit(vector, f"{text!r} (#{', #'.join(map(str, rows))})"), surface)


def _rows(table: EmbeddingTable, text: str) -> tuple[int, ...]:
    refuse_blank(text)
    size = len(table.vectors)
    if match := _ROW.fullmatch(text):
        row = int(match[1])
        if row >= size:
            raise UsageError(f"there is no row #{row}; the matrix has rows #0 to #{size - 1}")
        return (row,)
    if (token := exact_token(text)) is not None:
        return _written(table, token)
    rows = table.vocabulary.encode([text])[0]
    if len(rows) != 1:
        surface = next((row for row, token in enumerate(table.tokens) if token == text), None)
        rows = rows if surface is None else (surface,)
    if not rows or max(rows) >= size:
        raise UsageError(f"{text!r} is no word of this vocabulary; give a token as it is written there, or #ID")
    return rows


def _written(table: EmbeddingTable, token: str) -> tuple[int]:
    rows = table.written(token)
    if not rows:
        raise UsageError(f"no token of this vocabulary is written exactly {token!r}; give it as a word, or #ID")
    if len(rows) > 1:
        listed_rows = ", ".join(f"#{row}" for row in rows)
        raise UsageError(f"{len(rows)} tokens are written {token!r}: {listed_rows}; give one of them")
    return (rows[0],)


def _unit(vector: Tensor, name: str) -> Tensor:
    length = float(torch.linalg.vector_norm(vector))
    if not 0 < length < np.inf:
        raise NotMeasurable(f"{name} has a vector of length {length:g}, so it has no direction")
    return vector / length


def _described(table: EmbeddingTable, word: _Word) -> dict[str, Any]:
    return {"text": word.text, "ids": list(word.rows), "tokens": [table.token(row) for row in word.rows]}


def _split(table: EmbeddingTable, word: str) -> dict[str, Any]:
    """The tokens of a word, the row that a claim would use or why there is none, and tokens of other spellings."""
    written = exact_token(word)
    refuse_blank(word)
    rows = table.vocabulary.encode([word])[0] if written is None else tuple(table.written(written)[:1])
    (row,) = table.rows([word])
    bare = (word if written is None else written).strip()
    cases = dict.fromkeys((bare, bare.lower(), bare.capitalize(), bare.upper()))
    spellings = [space + case for case in cases for space in ("", " ")]
    return {
        "text": word,
        "tokens": [{"id": id_, "token": table.token(id_), "left_out": _left_out(table, id_)} for id_ in rows],
        "row": row,
        "why": None if row is not None else _why_none(table, rows),
        "spellings": [
            {"id": id_, "token": spelling}
            for spelling in dict.fromkeys(spellings)
            for id_ in table.written(spelling)
            if (id_,) != tuple(rows)
        ],
    }


def _why_none(table: EmbeddingTable, rows: Sequence[int]) -> str:
    if not rows:
        return "it is no word of this vocabulary"
    if len(rows) > 1:
        return f"it is {len(rows)} tokens, and claims are about words of one"
    return f"its row is left out of the population: {_left_out(table, rows[0])}"


def _left_out(table: EmbeddingTable, row: int) -> str | None:
    """Why a row is no part of the population; none where it is."""
    if row >= len(table.vectors):
        return "the matrix has no such row"
    return None if table.in_population[row] else RowStatus(int(table.status[row])).name.lower()


# --- scores -----------------------------------------------------------------------------------------------------


def _cosines(table: EmbeddingTable, words: Sequence[_Word]) -> NDArray[np.float64]:
    """(words, N) cosines with every row of the population."""
    query = torch.stack([word.vector for word in words]).float()
    return np.asarray(blocks.cosines(table, query, "cosines").cpu().double().numpy())


def _merged(table: EmbeddingTable, scores: NDArray[np.float64], without: Sequence[str]) -> NDArray[np.float64]:
    """Scores with all but the best variant of each word, and every variant of some words, set to minus infinity."""
    forms = forms_of(table)
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(forms.of_position[order], return_index=True)
    merged = np.full_like(scores, -np.inf)
    merged[order[first]] = scores[order[first]]
    left_out = [form for form in map(forms.find, without) if form is not None]
    merged[forms.positions(left_out)] = -np.inf
    return merged


def _rank(table: EmbeddingTable, scores: NDArray[np.float64], text: str) -> int | None:
    """Rank of a word among merged scores; none where it is left out, or not a form of the vocabulary."""
    forms = forms_of(table)
    form = forms.find(text)
    best = -np.inf if form is None else scores[forms.positions([form])].max()
    return None if best == -np.inf else int((scores > best).sum()) + 1


def _best(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    order = np.argsort(-scores, kind="stable")[:k]
    return order[np.isfinite(scores[order])]
