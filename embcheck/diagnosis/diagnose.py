"""The doors to a diagnosis: of two tables, or of an encoder and the vectors that a server makes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from embcheck.diagnosis.causes.matrices import head_overwritten, other_matrix, output_or_none
from embcheck.diagnosis.encoders import diagnose_encoder
from embcheck.diagnosis.search import search
from embcheck.errors import NotMeasurable
from embcheck.reports.comparison import Token
from embcheck.reports.diagnosis import Cause, Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.diagnosis.explanation import Explanation
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["likely", "of_encoder", "of_tables"]

_NAMED = 20
_UNKNOWN = "the vectors are not what the encoder makes, and no way of serving it otherwise that is known makes them"


def of_tables(
    reference: EmbeddingTable,
    candidate: EmbeddingTable,
    parents: Sequence[EmbeddingTable] = (),
    *,
    names: tuple[str, str] | None = None,
    other: EmbeddingTable | None = None,
) -> Diagnosis:
    """What made a candidate of a reference.

    Parameters
    ----------
    parents
        Two tables that the candidate may be a merge of.
    names
        What the two are called.
    other
        The reference's other matrix; where the reference is an input embedding, its own output matrix by default.
    """
    is_output = other is not None
    swapped = other_matrix(reference, candidate, other or output_or_none(reference), is_output=is_output)
    if swapped is not None:
        return _record(names, reference, candidate, [swapped], residual=0.0)
    account = search(reference, candidate, parents)
    explanations = list(account.explanations)
    if (head := head_overwritten(reference, candidate)) is not None:
        explanations = [*(e for e in explanations if e.cause != "identical"), head]
    diagnosis = _record(names, reference, candidate, explanations, residual=account.residual)
    return _with(diagnosis, runner_up=account.runner_up, abstained=account.abstained)


def likely(reference: EmbeddingTable, candidate: EmbeddingTable, names: tuple[str, str]) -> str | None:
    """In a line: what made one of the other, and the command that says more; none where that can't be told."""
    try:
        diagnosis = of_tables(reference, candidate, names=names)
    except NotMeasurable:
        return None
    said = "; ".join(cause.sentence for cause in diagnosis.causes)
    looks = f"no cause that is known: {diagnosis.abstained}" if diagnosis.abstained else f"looks like this: {said}"
    return f"{looks}. See: embcheck diagnose {shlex.join(names)}"


def of_encoder(reference: ModelSpec, candidate: EmbeddingTable, names: tuple[str, str]) -> Diagnosis:
    """What a server of an encoder does otherwise, from its vectors of some texts."""
    explanations = diagnose_encoder(reference, candidate)
    residual = explanations[-1].residual if explanations else 1.0
    diagnosis = _record(names, candidate, candidate, explanations, residual=residual)
    return diagnosis if explanations else _with(diagnosis, abstained=_UNKNOWN)


def _with(diagnosis: Diagnosis, **changes: str | None) -> Diagnosis:
    from msgspec import structs

    return structs.replace(diagnosis, **changes)


def _record(
    names: tuple[str, str] | None,
    reference: EmbeddingTable,
    candidate: EmbeddingTable,
    explanations: Sequence[Explanation],
    *,
    residual: float,
) -> Diagnosis:
    before, after = names or (reference.provenance.spec, candidate.provenance.spec)
    causes = tuple(
        Cause(
            cause=e.cause,
            parameters=dict(e.parameters),
            rows=len(e.rows),
            first=tuple(Token(row, candidate.token(row)) for row in e.rows[:_NAMED]),
            sentence=e.sentence.rstrip("."),
            remedy=e.remedy.rstrip("."),
        )
        for e in explanations
    )
    return Diagnosis(reference=before, candidate=after, causes=causes, residual=residual)
