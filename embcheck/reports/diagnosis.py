"""What ``embcheck diagnose`` finds, as values: the types of ``embcheck-diagnosis/1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from embcheck.checks.record import Count, Name, Number, schema_of
from embcheck.reports.comparison import Token
from embcheck.reports.document import Document
from embcheck.reports.text import number
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Collection

SCHEMA: Literal["embcheck-diagnosis/1"] = "embcheck-diagnosis/1"
HARMLESS = frozenset({"identical", "cast", "reordered"})
"""Causes after which every claim about the geometry is what it was, but for rounding."""
CAUSES_OF_TABLES = frozenset(
    {
        *("identical", "cast", "quantized", "scaled", "columns_scaled"),
        *("normalised", "mean_removed", "mean_added", "components_removed", "whitened"),
        *("rotated", "columns_permuted", "columns_sliced", "columns_padded", "columns_interleaved"),
        *("rows_shifted", "rows_permuted", "rows_truncated", "rows_padded", "rows_added"),
        *("rows_untouched", "rows_overwritten", "reordered", "other_tokenizer", "other_matrix"),
        *("head_overwritten", "noise", "fine_tuned", "merged", "another_run"),
        "unrelated",
    }
)
CAUSES_OF_ENCODERS = frozenset(
    {
        *("identical", "pooling", "normalisation", "order", "precision"),
        *("width", "prefix", "case", "truncation", "padding", "special tokens"),
    }
)
CAUSES = CAUSES_OF_TABLES | CAUSES_OF_ENCODERS
ABSTAINED = "none of these"
_SHOWN = 30  # characters of a token


def shortened(token: str) -> str:
    """A token, or the beginning of a text."""
    return token if len(token) <= _SHOWN else token[: _SHOWN - 3] + "..."


class Cause(Struct, frozen=True, kw_only=True):
    """One thing that happened, as fitted."""

    cause: Name
    parameters: dict[str, Number | str]
    rows: Annotated[Count, Meta(description="Candidate rows that it concerns, where not all are; 0 for all.")]
    first: tuple[Token, ...]
    sentence: str
    remedy: str

    @property
    def evidence(self) -> str:
        """The parameters, and the first tokens where not all rows are meant."""
        said = [f"{name} {number(v) if isinstance(v, float) else v}" for name, v in self.parameters.items()]
        named = ", ".join(f"{shortened(token.token)!r} #{token.id}" for token in self.first[:5])
        more = ", ..." if self.rows > len(self.first[:5]) else ""
        return "; ".join(text for text in (", ".join(said), named + more) if text)


class Diagnosis(Document, frozen=True, kw_only=True):
    """What made a candidate of its reference: causes in the order in which they are found."""

    schema: Literal["embcheck-diagnosis/1"] = SCHEMA
    reference: str
    candidate: str
    causes: tuple[Cause, ...]
    residual: Annotated[Number, Meta(description="Share of the spread of rows that the causes leave, in the median.")]
    runner_up: Annotated[str | None, Meta(description="The next best account, which was turned down.")] = None
    abstained: Annotated[str | None, Meta(description="Why no cause stands; what the difference looks like.")] = None
    allowed: Annotated[tuple[str, ...], Meta(description="Causes that --allow named, which fail nothing.")] = ()

    @property
    def cause(self) -> str:
        """The causes by name, or that none fits."""
        return ABSTAINED if self.abstained else " + ".join(cause.cause for cause in self.causes)

    def __repr__(self) -> str:
        """One line: the two tables and what happened."""
        said = "; ".join([self.verdict, *(cause.sentence for cause in self.causes), *filter(None, [self.abstained])])
        return inert_line(f"<Diagnosis of {self.candidate} against {self.reference}: {said}>", 600)

    @property
    def verdict(self) -> str:
        """The causes by name, and that they are allowed, where it is only so that they are harmless."""
        is_allowed = self.is_harmless() and any(cause.cause not in HARMLESS for cause in self.causes)
        return f"{self.cause} (allowed)" if is_allowed else self.cause

    def is_harmless(self, allowed: Collection[str] = ()) -> bool:
        """Whether it is explained, by nothing but what changes no geometry or is allowed, here or when it was made."""
        harmless = {*HARMLESS, *self.allowed, *allowed}
        return self.abstained is None and all(cause.cause in harmless for cause in self.causes)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12); the package ships it as ``embcheck-diagnosis-1.schema.json``."""
    return schema_of(Diagnosis, SCHEMA, "embcheck diagnosis, version 1")
