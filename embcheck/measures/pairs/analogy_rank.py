"""One analogy: does a - b + c lead to the target?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures import histograms
from embcheck.measures.kernels import blocks
from embcheck.measures.resolve import forms_of, undecided
from embcheck.settings import current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from embcheck.lexicons import Analogy
    from embcheck.measures.resolve import Forms
    from embcheck.table import EmbeddingTable

__all__ = ["analogy_rank"]

ENOUGH_FORMS = 1_000  # below it, rank 10 is reached by chance more often than once in a hundred
DRAWN = 20
SCATTER = 150  # tokens drawn around an analogy's vector
EPSILON = 1e-3  # of 3CosMul, as Levy and Goldberg chose it
NEAR = 0.01  # cosines that lie nearer to each other than this are a near tie


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Cosines of every population row with one query, ranked by surface form."""

    best: Tensor
    forms: Forms

    def rank(self, word: str, without: tuple[str, ...] = ()) -> int:
        """1 + the number of other forms that score at least as high; ties count against the word."""
        return 1 + int((self._leads(word, without) >= 0).sum())

    def soft_rank(self, word: str, without: tuple[str, ...] = ()) -> float:
        """1 + the other forms that are ahead, near ties in part: from 0 at 0.01 behind the word to 1 at 0.01 ahead."""
        return 1 + float((0.5 + self._leads(word, without) / (2 * NEAR)).clamp(0, 1).sum())

    def _leads(self, word: str, without: tuple[str, ...]) -> Tensor:
        """By how much each other form scores above the word."""
        leads = self.best - self.best[self.forms.find(word)]
        for left_out in (word, *without):
            leads[self.forms.find(left_out)] = -math.inf
        return leads


@measure
def analogy_rank(table: EmbeddingTable, analogy: Analogy) -> Estimate:
    r"""Rank of the target among all surface forms by cosine with a - b + c, the three source words left out.

    3CosAdd on unit vectors, :math:`\cos(x, \hat a - \hat b + \hat c)` (Mikolov, Yih and Zweig 2013; Levy and Goldberg
    2014); case and space variants of one word are counted once, at the best of them. Exact: the whole population is
    ranked. Details give the rank with source words kept, 3CosAdd on raw vectors, 3CosMul, and the controls that Linzen
    (2016) asks for: nearest to a, nearest to c, and a + c, which ignores b; also the 20 nearest forms, sources kept,
    and a histogram of the cosines with all forms. Words' own cosines, and the rank among the candidates, are those of
    the rows that the words are, not of their best variants. Two checkpoints are compared by the reciprocal rank with
    near ties counted in part, which noise moves little.

    Parameters
    ----------
    analogy
        a - b + c = target, each word a single token of the table.

    Raises
    ------
    NotMeasurable
        One of the four words is not a single token here, or two of them share a row, or rows that write one word.
    """
    words = (analogy.a, analogy.b, analogy.c, analogy.target)
    forms = forms_of(table)
    unit = table.directions(words).to(table.accumulator)
    if len({forms.find(word) for word in words}) < len(set(words)):  # one would be left out of the other's ranking
        raise NotMeasurable(f"two of {', '.join(words)} share a row, or rows that write one word")
    raw = table.embed(words).vectors
    queries = {
        "3cosadd": unit[0] - unit[1] + unit[2],
        "3cosadd_raw": raw[0] - raw[1] + raw[2],
        "nearest_to_a": unit[0],
        "nearest_to_c": unit[2],
        "a_plus_c": unit[0] + unit[2],
    }
    query = torch.nn.functional.normalize(torch.stack([*queries.values(), unit[1]]), dim=1).float()
    scores = blocks.cosines(table, query)
    rankings = {name: _Ranking(forms.best(scores[i]), forms) for i, name in enumerate(queries)}
    near_a, near_c, near_b = scores[2] + 1, scores[3] + 1, scores[-1] + 1  # twice the cosines shifted to [0, 1]
    rankings["3cosmul"] = _Ranking(forms.best(near_a / 2 * near_c / 2 / (near_b / 2 + EPSILON)), forms)
    sources = words[:3]
    ranks = {name: ranking.rank(analogy.target, sources) for name, ranking in rankings.items()}
    main = rankings["3cosadd"]
    nearest = _nearest(table, scores[0], main, analogy)
    excluded = {forms.find(word) for word in sources}
    ahead = [entry for form, entry in nearest if form not in excluded][:10]
    return Estimate.exact(
        float(ranks["3cosadd"]),
        n=forms.count,
        unit="surface forms",
        name=f"rank of {analogy.target} for {analogy.a} - {analogy.b} + {analogy.c}",
        details={
            "ranks": ranks,
            "rank_with_sources_kept": main.rank(analogy.target),
            "rank_among_candidates": _among_candidates(table, analogy, scores),
            "words": list(words),
            "nearest": [entry for _, entry in nearest[:DRAWN]],
            "cosine_histogram": histograms.of_values(main.best.cpu().double().numpy()),
            "cosines": _own(table, words, scores[0]),
            "cosines_raw": _own(table, words, scores[1]),
            **({"scatter": _scatter(table, words, raw, scores[1])} if current().details else {}),
            "angle_degrees": _angle(raw[0] - raw[1], raw[3] - raw[2]),
            "summary": _summary(analogy, ranks),
            **_remark(ranks),
        },
        counterexamples=[{key: entry[key] for key in ("id", "token", "value")} for entry in ahead],
        reason=undecided(forms.count, "forms to rank", ENOUGH_FORMS),
        compared_as=("reciprocal rank, near ties in part", 1 / main.soft_rank(analogy.target, sources)),
    )


def _angle(first: Tensor, second: Tensor) -> float | None:
    """Degrees between the offsets a - b and target - c; none where one of them is zero."""
    lengths = float(torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second))
    return math.degrees(math.acos(max(-1.0, min(1.0, float(first @ second) / lengths)))) if lengths else None


def _own(table: EmbeddingTable, words: Sequence[str], scores: Tensor) -> dict[str, float]:
    """The score of each word's own row, whatever its variants score; words that are no single token have none."""
    rows = {word: row for word, row in zip(words, table.rows(words), strict=True) if row is not None}
    positions = np.searchsorted(table.population, list(rows.values()))
    return dict(zip(rows, scores[torch.from_numpy(positions).to(scores.device)].tolist(), strict=True))


def _scatter(table: EmbeddingTable, words: Sequence[str], raw: Tensor, scores: Tensor) -> Details:
    """Cosine with a - b + c and distance from it, vectors as stored: of some tokens, then of the four words."""
    query = (raw[0] - raw[1] + raw[2]).to(table.accumulator)
    landmarks = {word: row for word, row in zip(words, table.rows(words), strict=True) if row is not None}
    rows = np.concatenate([table.probes(SCATTER), np.array(list(landmarks.values()), dtype=np.int64)])
    positions = torch.from_numpy(np.searchsorted(table.population, rows)).to(scores.device)
    distances = torch.linalg.vector_norm(table.gather(rows).to(table.accumulator) - query, dim=1)
    shown = len(rows) - len(landmarks)
    return {
        "tokens": [*(table.token(int(row)) for row in rows[:shown]), *landmarks],
        "cosine": histograms.rounded(scores[positions].cpu().double().numpy()),
        "distance": histograms.rounded(distances.cpu().double().numpy()),
        "landmarks": len(landmarks),
    }


def _among_candidates(table: EmbeddingTable, analogy: Analogy, scores: Tensor) -> Details | None:
    """Where the target's own row stands among those of the candidates, sources kept as the source document does."""
    if not analogy.candidates:
        return None
    ranks = {}
    for name, by_position in zip(("unit", "raw"), scores, strict=False):
        own = _own(table, analogy.candidates, by_position)
        ranks[name] = 1 + sum(s >= own[analogy.target] for w, s in own.items() if w != analogy.target)
    return {**ranks, "candidates": len(own)}


def _summary(analogy: Analogy, ranks: dict[str, int]) -> str:
    controls = {name: ranks[name] for name in ("nearest_to_a", "nearest_to_c", "a_plus_c")}
    name = min(controls, key=lambda key: controls[key])
    alone = {"nearest_to_a": f"{analogy.a} alone", "nearest_to_c": f"{analogy.c} alone"}
    what = alone.get(name, f"{analogy.a} + {analogy.c}")
    reached = f"{what} ranks {analogy.target} {controls[name]}, the arithmetic {ranks['3cosadd']}"
    return reached if ranks["3cosadd"] < controls[name] else f"{reached}: it adds nothing over that"


def _remark(ranks: dict[str, int]) -> Details:
    """That the words of the question do as well without the arithmetic, where they do; a + c is what ignores b."""
    alone = {"a_plus_c": "a + c", "nearest_to_a": "a", "nearest_to_c": "c"}
    name = min(alone, key=lambda key: ranks[key])
    if ranks[name] > ranks["3cosadd"]:
        return {}
    return {"remark": f"{alone[name]} alone ranks it {'as high' if ranks[name] == ranks['3cosadd'] else 'higher'}"}


def _nearest(table: EmbeddingTable, scores: Tensor, ranking: _Ranking, analogy: Analogy) -> list[tuple[int, Details]]:
    """Forms among the 200 nearest rows, nearest first, each with its nearest variant and its role in the analogy."""
    words = {"source": (analogy.a, analogy.b, analogy.c), "target": (analogy.target,)}
    roles = {ranking.forms.find(word): role for role, listed in words.items() for word in listed}
    entries: dict[int, Details] = {}
    for position in torch.argsort(scores, descending=True, stable=True)[:200].tolist():
        form, row = int(ranking.forms.of_position[position]), int(table.population[position])
        entry = {"id": row, "token": table.token(row), "value": float(scores[position]), "role": roles.get(form)}
        entries.setdefault(form, entry)
    return list(entries.items())
