"""Where words lie on a semantic axis: poles, controls, and the source's own words on the source's own axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck import lexicons
from embcheck.measures.resolve import resolve, unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from embcheck.lexicons import Axis
    from embcheck.table import EmbeddingTable

    Vectors = Mapping[str, NDArray[np.float64]]
    Pairs = Iterable[tuple[str, str]]

__all__ = ["as_source", "of_words"]


def of_words(
    table: EmbeddingTable,
    axis: Axis,
    units: NDArray[np.float64],
    pairs: list[tuple[str, str]],
    away: NDArray[np.float64] | None,
) -> dict[str, Any]:
    """Positions on the axis of all pairs: -1 and 1 are the poles' means. Negative controls should have a cosine near 0.

    Parameters
    ----------
    units
        (2n, d) first poles, then second poles, without what lies along ``away``.
    """
    n = len(pairs)
    first, second = units[:n].mean(0), units[n:].mean(0)
    direction = unit(second - first)
    middle, half = float((first + second) @ direction) / 2, float((second - first) @ direction) / 2
    controls = resolve(table, axis.controls)
    shown = controls.units if away is None else controls.units - np.outer(controls.units @ away, away)
    words = [pair[k] for k in (0, 1) for pair in pairs]

    positions = ((units @ direction - middle) / half).round(4).tolist()
    cosines = (shown @ direction).tolist()
    return {
        "poles": {"first": float(first @ direction), "second": float(second @ direction)},
        "positions": dict(zip(words, positions, strict=True)),
        "controls": {
            word: {"cosine": round(cosine, 4), "position": round((cosine - middle) / half, 4)}
            for word, cosine in zip(controls.words, cosines, strict=True)
        },
    }


def as_source(table: EmbeddingTable, axis: Axis) -> dict[str, Any] | None:
    """Projections as the source has them: its own words, pooled where they are several tokens; none where one lacks.

    Both axes are differences of raw vectors scaled to length 1; ``raw`` projects vectors as stored, ``unit`` scaled
    ones. The star is the source's king - man + woman.
    """
    (king,) = lexicons.analogies("king")
    away = () if axis.orthogonal_to is None else axis.orthogonal_to.source
    needed = dict.fromkeys(word for pair in (*axis.source, *away, (king.a, king.b), (king.c, king.c)) for word in pair)
    found = table.embed(list(dict.fromkeys((*needed, *axis.focus, *axis.controls))), "mean")
    if not axis.source or not set(needed) <= set(found.words):
        return None
    vectors = dict(zip(found.words, found.vectors.cpu().double().numpy(), strict=True))
    direction = _direction(vectors, axis.source)
    if away:
        other = _direction(vectors, away)
        direction = unit(_difference(vectors, axis.source) - (_difference(vectors, axis.source) @ other) * other)
    shown = {word: vectors[word] for word in (*axis.focus, *axis.controls) if word in vectors}
    shown[f"{king.a} - {king.b} + {king.c}"] = vectors[king.a] - vectors[king.b] + vectors[king.c]
    return {
        word: {"raw": round(float(v @ direction), 6), "unit": round(float(unit(v) @ direction), 4)}
        for word, v in shown.items()
    }


def _difference(vectors: Vectors, pairs: Pairs) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.mean([vectors[b] - vectors[a] for a, b in pairs], axis=0)
    return found


def _direction(vectors: Vectors, pairs: Pairs) -> NDArray[np.float64]:
    return unit(_difference(vectors, pairs))
