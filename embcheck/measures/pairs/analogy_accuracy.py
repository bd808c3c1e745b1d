"""Accuracy on a file of analogy questions, under the rules of word2vec's and gensim's evaluations or others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.errors import NotMeasurable, UsageError
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels import blocks

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.lexicons import Questions
    from embcheck.stats import Bools, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["analogy_accuracy"]

CLOSE = 1e-5  # of two cosines: float32 may not tell which is larger, and float64 decides
_ROWS, _QUESTIONS = 512, 1_024  # of a product: 2 MB, inside the cache of a CPU core
_STEP = 4_096  # rows after which questions that are settled are left out
_EXACT = 32  # questions at once in float64
_ULPS = 32
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class _Words:
    """The rows that may be an answer, and the form (0, 1, ...) of each: rows that write one word share it."""

    rows: Ints
    form_of: Ints
    forms: dict[str, int]
    first: Ints
    """The row that stands for each form: one with a leading space where there is one, else the first."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The n questions whose words are all known, in the file's order."""

    text: list[tuple[str, str, str, str]]
    section: Ints
    forms: Ints
    """(n, 4)."""
    query: Tensor
    """(n, d) unit vectors along b - a + c, in the accumulator's dtype."""
    keep_sources: bool

    @property
    def barred(self) -> Ints:
        """(n, m) forms that may not be the answer."""
        return self.forms[:, :0] if self.keep_sources else self.forms[:, :3]


@measure
def analogy_accuracy(
    table: EmbeddingTable,
    questions: Questions,
    *,
    restrict: int | None = None,
    fold_case: bool = True,
    keep_sources: bool = False,
) -> Estimate:
    r"""Share of analogy questions whose answer is the right word.

    The answer to (a, b, c) is the row nearest to :math:`\hat b - \hat a + \hat c` (3CosAdd on unit vectors: Mikolov,
    Yih and Zweig 2013), the three words left out; questions with an unknown word are not asked. With ``restrict`` set,
    and all rows in the population, these are the rules of gensim's ``evaluate_word_analogies`` (which gives up where
    the five nearest rows are all variants of the question's words). Every question is asked and every row compared, so
    the share is exact; questions share words, so no interval over them would be. Near ties are decided in float64; an
    exact tie counts against the target.

    Parameters
    ----------
    questions
        Read by ``lexicons.questions(path)``.
    restrict
        Only the first rows of the population are known words; the vectors of a corpus come in order of frequency.
    fold_case
        Words are compared in capitals: any of the target's variants is right, none of the sources' is an answer.
    keep_sources
        Let a, b and c be answers.

    Raises
    ------
    NotMeasurable
        No question has four known words.
    UsageError
        ``restrict`` is not positive.
    """
    if restrict is not None and restrict < 1:
        raise UsageError(f"restrict must be at least 1 row, got {restrict}")
    words = _known(table, restrict, fold_case=fold_case)
    asked = _ask(table, questions, words, fold_case=fold_case, keep_sources=keep_sources)
    with blocks.full_precision():
        right = _right(table, asked, words)
        wrong = _wrong(table, asked, words, right)
    return Estimate.exact(
        float(right.mean()),
        n=len(right),
        unit="questions",
        name="accuracy on analogy questions",
        units=right.astype(np.float64),
        details={
            "questions": questions.name,
            "rules": {"restrict": restrict, "fold_case": fold_case, "keep_sources": keep_sources},
            "words": len(words.rows),
            "sections": _sections(questions, asked, right),
        },
        counterexamples=wrong,
    )


# --- words and questions --------------------------------------------------------------------------------------------


def _folded(word: str, *, fold_case: bool) -> str:
    return word.upper() if fold_case else word


def _known(table: EmbeddingTable, restrict: int | None, *, fold_case: bool) -> _Words:
    rows = table.population[:restrict]
    forms: dict[str, int] = {}
    first: list[int] = []
    spaced: list[bool] = []
    form_of = np.empty(len(rows), dtype=np.int64)
    for position, row in enumerate(rows.tolist()):
        token = table.token(row)
        begins = token.startswith(" ")
        form = forms.setdefault(_folded(token.removeprefix(" "), fold_case=fold_case), len(forms))
        form_of[position] = form
        if form == len(first):
            first.append(row)
            spaced.append(begins)
        elif begins and not spaced[form]:
            first[form], spaced[form] = row, True
    return _Words(rows, form_of, forms, np.array(first, dtype=np.int64))


def _ask(table: EmbeddingTable, questions: Questions, words: _Words, *, fold_case: bool, keep_sources: bool) -> _Asked:
    text, section, forms = [], [], []
    for number, kind in enumerate(questions.sections):
        for question in kind.questions:
            known = [words.forms.get(_folded(word, fold_case=fold_case)) for word in question]
            if None not in known:
                text.append(question)
                section.append(number)
                forms.append(known)
    if not text:
        raise NotMeasurable(f"no question of {questions.name} has four words among the {len(words.rows)} known ones")
    index = np.array(forms, dtype=np.int64)
    used, position = np.unique(index[:, :3], return_inverse=True)
    unit = _unit(table, words.first[used])
    a, b, c = unit[torch.from_numpy(position.reshape(-1, 3).T.copy()).to(unit.device)]
    query = torch.nn.functional.normalize(b - a + c, dim=1, eps=1e-30)
    return _Asked(text, np.array(section, dtype=np.int64), index, query, keep_sources)


def _unit(table: EmbeddingTable, rows: Ints) -> Tensor:
    """(n, d) rows of length 1 in the accumulator's dtype."""
    return torch.nn.functional.normalize(table.gather(rows).to(table.accumulator), dim=1, eps=1e-300)


# --- which are right ------------------------------------------------------------------------------------------------


def _right(table: EmbeddingTable, asked: _Asked, words: _Words) -> Bools:
    """Whether the target scores above every rival: in float32 first, a question left out once a rival is ahead."""
    query = asked.query.float()
    apart = np.isin(words.form_of, np.unique(asked.forms))
    target, rival = _among_words(table, asked, words, np.flatnonzero(apart))
    active = torch.nonzero(rival <= target + CLOSE)[:, 0]
    rows = words.rows[~apart]
    for unit in (step for part in table.slices(len(rows)) for step in torch.split(table.units(rows[part]), _STEP)):
        if not len(active):
            break
        rival[active] = torch.maximum(rival[active], _largest(query[active], unit))
        active = active[rival[active] <= target[active] + CLOSE]
    right = (rival < target - CLOSE).cpu().numpy()
    close = (rival - target).abs().le(CLOSE).cpu().numpy().nonzero()[0]
    # equal rows at other places of one product may differ in its last digits: that is a tie, on every processor
    tie = _ULPS * torch.finfo(asked.query.dtype).eps
    for start in range(0, len(close), _EXACT):
        chosen = close[start : start + _EXACT]
        right[chosen] = [score > other + tie for score, other, _ in _exactly(table, asked, words, chosen)]
    return right


def _largest(query: Tensor, unit: Tensor) -> Tensor:
    """(n,) the largest cosine of each query with any of the rows."""
    best = query.new_full((len(query),), -torch.inf)
    for start in range(0, len(query), _QUESTIONS):
        some = slice(start, start + _QUESTIONS)
        for first in range(0, len(unit), _ROWS):
            product = query[some] @ unit[first : first + _ROWS].T
            torch.maximum(best[some], product.amax(1), out=best[some])
    return best


def _among_words(table: EmbeddingTable, asked: _Asked, words: _Words, positions: Ints) -> tuple[Tensor, Tensor]:
    """(n,) score of the target, and the largest of a rival, among the rows that write any question's words."""
    unit = table.units(words.rows[positions])
    distinct, column = np.unique(words.form_of[positions], return_inverse=True)
    index = torch.from_numpy(column).to(unit.device)
    forms = torch.from_numpy(np.searchsorted(distinct, asked.forms)).to(unit.device)
    targets, rivals = [], []
    for start in range(0, len(forms), _QUESTIONS):
        some = slice(start, start + _QUESTIONS)
        scores = asked.query[some].float() @ unit.T
        best = scores.new_full((len(scores), len(distinct)), -torch.inf)
        best.scatter_reduce_(1, index.expand(scores.shape), scores, "amax")
        if not asked.keep_sources:
            best.scatter_(1, forms[some, :3], -torch.inf)
        target = forms[some, 3:]
        targets.append(best.gather(1, target)[:, 0])
        rivals.append(best.scatter_(1, target, -torch.inf).amax(1))
    return torch.cat(targets), torch.cat(rivals)


def _exactly(table: EmbeddingTable, asked: _Asked, words: _Words, chosen: Ints) -> list[tuple[float, float, int]]:
    """For some questions, in the accumulator's dtype: the target's score, the best rival's, and the rival's row."""
    query = asked.query[torch.from_numpy(chosen).to(asked.query.device)]
    target = query.new_full((len(chosen),), -torch.inf)
    rival, where = target.clone(), np.full(len(chosen), -1, dtype=np.int64)
    for part in table.slices(len(words.rows)):
        scores = query @ _unit(table, words.rows[part]).T
        form = words.form_of[None, part]
        own = form == asked.forms[chosen, 3:]
        out = (form[:, :, None] == asked.barred[chosen][:, None]).any(2)
        scores.masked_fill_(torch.from_numpy(out).to(scores.device), -torch.inf)
        wanted = torch.from_numpy(own).to(scores.device)
        target = torch.maximum(target, scores.masked_fill(~wanted, -torch.inf).amax(1))
        best, column = scores.masked_fill_(wanted, -torch.inf).max(1)
        ahead = (best > rival).cpu().numpy()
        where[ahead] = words.rows[part][column.cpu().numpy()[ahead]]
        rival = torch.maximum(rival, best)
    return list(zip(target.tolist(), rival.tolist(), where.tolist(), strict=True))


# --- what is said of them -------------------------------------------------------------------------------------------


def _sections(questions: Questions, asked: _Asked, right: Bools) -> list[Details]:
    sections = []
    for number, section in enumerate(questions.sections):
        inside = right[asked.section == number]
        sections.append(
            {
                "section": section.name,
                "questions": len(section.questions),
                "asked": len(inside),
                "correct": int(inside.sum()),
                "accuracy": float(inside.mean()) if len(inside) else None,
            }
        )
    return sections


def _wrong(table: EmbeddingTable, asked: _Asked, words: _Words, right: Bools) -> list[Details]:
    """The first wrong question of up to ten sections, the answer, and how far it is ahead of the target."""
    missed = np.flatnonzero(~right)
    _, first = np.unique(asked.section[missed], return_index=True)
    chosen = missed[first[:_SHOWN]]
    entries = []
    for question, (target, rival, row) in zip(chosen, _exactly(table, asked, words, chosen), strict=True):
        a, b, c, wanted = asked.text[question]
        entry = {"token": f"{b} - {a} + {c} = {wanted}", "id": row, "answer": table.token(row) if row >= 0 else None}
        entries.append(entry | {"value": rival - target if np.isfinite(rival - target) else None})
    return entries
