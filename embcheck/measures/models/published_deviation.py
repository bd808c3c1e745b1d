"""Published figures of a model, computed again as their documents did, and held against what was printed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck import published
from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels import blocks, probe_cosines
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from embcheck.published import Entry, Figure
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["published_deviation"]

PROBES = 1_000
TOKENS = 50  # that the published means are over
DRAWS = 9_999
LEVEL = 0.99
ARITHMETIC = 1e-6  # how far float32 sums in another order may lie apart, of cosines
_COUNTS = frozenset({"non_negative", "negative"})


@dataclass(frozen=True, slots=True)
class _Compared:
    """A figure beside the one computed here; ``value`` as printed."""

    name: str
    ours: float
    printed: str
    tolerance: float

    @property
    def deviation(self) -> float:
        """How far they lie apart, in tolerances."""
        return abs(self.ours - float(self.printed)) / self.tolerance

    def record(self, source: str) -> Details:
        """The comparison as JSON types."""
        return {
            "figure": self.name,
            "ours": self.ours,
            "published": float(self.printed),
            "printed": self.printed,
            "tolerance": self.tolerance,
            "within": self.deviation < 1,
            "source": source,
        }


@measure
def published_deviation(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""The largest deviation of a model's figures from the published ones, in tolerances.

    Each figure is computed as its document says, over every row that has a direction, whatever the table's population.
    Means over 50 random tokens have as tolerance the 0.99 quantile of the distance between 50-token means, resampled
    from up to 1,000 probes, and the mean of all of these (the probes' own sampling added in quadrature), plus half a
    unit of the last printed digit; figures without a sample the half unit and the precision of the rows' dtype. All
    listed figures are compared, so the value is exact; what is random stands in the tolerances. The table's provenance
    names the model.

    Raises
    ------
    NotMeasurable
        No figures of the model are listed, or the table lacks a token that they are about.
    """
    spec = parse(table.provenance.spec)
    listed = published.of(spec)
    if not listed:
        raise NotMeasurable(f"no published figures are listed of {spec.text!r}; see embcheck list --published")
    whole = table if table.kind == "all" else table.with_population("all")
    compared = [(figure, entry.source) for entry in listed for figure in _HOW[entry.how or ""](whole, entry, rng)]
    ranked = sorted((figure for figure, _ in compared), key=lambda figure: -figure.deviation)
    outside = [figure for figure in ranked if figure.deviation >= 1]
    return Estimate.exact(
        ranked[0].deviation,
        n=len(compared),
        unit="published figures",
        name="largest deviation in tolerances",
        details={
            "model": listed[0].model,
            "published_figures": [figure.record(source) for figure, source in compared],
            "rows": len(whole.vectors),
            "published_rows": [entry.rows for entry in listed if entry.rows],
            "rows_without_direction": len(whole.vectors) - len(whole.population),
            "summary": _summary(whole, listed, outside),
        },
        counterexamples=[
            {"token": figure.name, "ours": figure.ours, "published": float(figure.printed), "value": figure.deviation}
            for figure in outside[:10]
        ],
    )


def _summary(table: EmbeddingTable, listed: tuple[Entry, ...], outside: list[_Compared]) -> str:
    about = [f"{len(outside)} outside their tolerance" if outside else "all within their tolerance"]
    rows = len(table.vectors)
    about += [f"{rows} rows, published of {entry.rows}" for entry in listed if entry.rows not in {None, rows}]
    if gone := rows - len(table.population):
        about.append(f"{gone} rows without a direction left out")
    return "; ".join(about)


# --- means over 50 tokens -------------------------------------------------------------------------------------------


def _probe_means(table: EmbeddingTable, entry: Entry, rng: np.random.Generator) -> Iterator[_Compared]:
    """Averages of each probe's statistic, rounded for each probe as the figure is; counts for as many rows as it had.

    The documents' own code would have printed NaN had a row been zero; rows without a direction are left out here.
    """
    probes = table.probes(PROBES)
    seen = probe_cosines.probe_statistics(table, probes, median=True)
    others = (entry.rows or len(table.vectors)) - 1
    values = {
        "min": seen.minimum,
        "max": seen.maximum,
        "mean": seen.mean,
        "median": seen.median,
        "share": seen.share,
        "non_negative": seen.share * others,
        "negative": (1 - seen.share) * others,
    }
    for figure in entry.figures:
        column = values[figure.name]
        rounded = column if figure.name in _COUNTS else column.round(figure.digits)
        spread = _sampling(rounded, len(table.population), rng)
        yield _Compared(figure.name, float(rounded.mean()), str(figure), spread + figure.half_unit)


def _sampling(values: Floats, population: int, rng: np.random.Generator) -> float:
    """How far a mean of 50 draws with replacement lies from that of all rows, at most, 99 times in a hundred."""
    means = rng.choice(values, (DRAWS, TOKENS)).mean(1)
    own = TOKENS * (1 / len(values) - 1 / population)
    return float(np.quantile(np.abs(means - values.mean()), LEVEL)) * math.sqrt(1 + own)


# --- words ----------------------------------------------------------------------------------------------------------


def _offset_cosines(table: EmbeddingTable, entry: Entry, _rng: np.random.Generator) -> Iterator[_Compared]:
    """Cosine of each unit offset second - first with the direction of their mean, itself included."""
    pairs = [figure.name.split(">") for figure in entry.figures]
    vectors = _vectors(table, [word for pair in pairs for word in pair])
    offsets = torch.stack([_unit(vectors[second] - vectors[first]) for first, second in pairs])
    cosines = offsets @ _unit(offsets.mean(0))
    for figure, cosine in zip(entry.figures, cosines.tolist(), strict=True):
        yield _exact(table, figure, cosine)


def _arithmetic(table: EmbeddingTable, entry: Entry, _rng: np.random.Generator) -> Iterator[_Compared]:
    """Cosines of a - b + c, as stored, with the words; the angle between a - b and target - c."""
    words = entry.words
    vectors = _vectors(table, list(words))
    a, b, c, target = (vectors[word] for word in words)
    values = {f"cosine_{word}": float(_unit(a - b + c) @ _unit(vectors[word])) for word in words}
    values["angle_degrees"] = math.degrees(math.acos(max(-1.0, min(1.0, float(_unit(a - b) @ _unit(target - c))))))
    for figure in entry.figures:
        scale = 180 / math.pi if figure.name == "angle_degrees" else 1.0
        yield _exact(table, figure, values[figure.name], scale)


def _neighbors(table: EmbeddingTable, entry: Entry, _rng: np.random.Generator) -> Iterator[_Compared]:
    """Cosine and rank of each listed token among all rows; equal cosines share a rank."""
    rows = _tokens(table, [*entry.words, *(figure.name for figure in entry.figures)])
    with blocks.full_precision():
        query = table.units(rows[:1])[0]
        cosines = torch.cat([unit @ query for _, unit in blocks.blocks(table)])
    own = cosines[torch.from_numpy(np.searchsorted(table.population, rows[1:])).to(cosines.device)]
    for printed_rank, (figure, cosine) in enumerate(zip(entry.figures, own, strict=True), 1):
        rank = 1 + int((cosines > cosine).sum())
        yield _Compared(f"rank of {figure.name!r}", float(rank), str(printed_rank), 0.5)
        about = published.Figure(f"cosine of {figure.name!r}", figure.value, figure.digits)
        yield _exact(table, about, float(cosine))


_HOW: Mapping[str, Callable[[EmbeddingTable, Entry, np.random.Generator], Iterator[_Compared]]] = {
    "probe_means": _probe_means,
    "offset_cosines": _offset_cosines,
    "arithmetic": _arithmetic,
    "neighbors": _neighbors,
}


def _exact(table: EmbeddingTable, figure: Figure, ours: float, scale: float = 1.0) -> _Compared:
    """A figure without a sample: rounding, and the precision of the rows that are at hand."""
    precision = max(ARITHMETIC, torch.finfo(table.vectors.dtype).eps) * scale
    return _Compared(figure.name, ours, str(figure), figure.half_unit + precision)


def _vectors(table: EmbeddingTable, words: list[str]) -> dict[str, Tensor]:
    """(d,) vectors of words, those of several tokens averaged."""
    known = table.embed(list(dict.fromkeys(words)), "mean")
    if known.coverage.missing:
        raise NotMeasurable(f"published figures are about words not to be found here: {_named(known.coverage.missing)}")
    return dict(zip(known.words, known.vectors, strict=True))


def _tokens(table: EmbeddingTable, tokens: list[str]) -> Ints:
    """Rows of tokens, exactly as they are written, a leading space included."""
    rows = {table.token(row): row for row in reversed(table.population.tolist())}
    if missing := [token for token in tokens if token not in rows]:
        raise NotMeasurable(f"published figures are about tokens not to be found here: {_named(missing)}")
    return np.array([rows[token] for token in tokens], dtype=np.int64)


def _named(words: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, dict.fromkeys(words)))


def _unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector, dim=0, eps=1e-30)
