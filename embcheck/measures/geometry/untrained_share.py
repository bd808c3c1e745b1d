"""Untrained tokens: rows that look as if training never touched them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.estimate import Estimate
from embcheck.measures.geometry import fingerprints
from embcheck.measures.resolve import tokens_part
from embcheck.table.vocabulary import RowStatus, TokenKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.measures.geometry.fingerprints import Fingerprint
    from embcheck.table import EmbeddingTable

__all__ = ["round_trip", "untrained_share"]

LISTED, EXAMPLES = 100, 20
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def untrained_share(table: EmbeddingTable) -> Estimate:
    """Share of the known rows that look untouched by training, found without any list of tokens.

    A row counts where one of five fingerprints fits (``fingerprints``): it is zero; it is far shorter
    than the others; it lies as near to the mean of rows that can't have been trained (reserved by name, or padding past
    the tokenizer) as those do themselves; it equals another row bit for bit; it lies within a tenth of its length of
    another row. The last is searched around 500 sampled tokens, so a group of fewer than one row in 100 may be missed;
    the others see every row, and the share is exact in that sense. After Land and Bartolo, "Fishing for Magikarp:
    Automatically Detecting Under-trained Tokens in Large Language Models" (2024). Details list the rows, how many each
    fingerprint fits, and how tokens survive the round trip through text.

    Parameters
    ----------
    table
        Its population, and zero rows that the tokenizer names, are the known rows.

    Raises
    ------
    NotMeasurable
        Fewer than two rows in the population.
    """
    rows = np.union1d(table.population, _zero_rows(table))
    found = fingerprints.all_of(table, rows)
    fits = np.zeros(len(table.vectors), dtype=np.int64)
    for fingerprint in found:
        fits[fingerprint.rows] += 1
    norms = table.norms.cpu().double().numpy()
    flagged = np.flatnonzero(fits)
    flagged = flagged[np.lexsort((norms[flagged], -fits[flagged]))]
    listed = [_listed(table, int(row), norms, found) for row in flagged[:LISTED]]
    return Estimate.exact(
        len(flagged) / len(rows),
        n=len(rows),
        unit="known rows",
        name="share of rows that look untrained",
        parts=(tokens_part(table, rows, fits[rows] > 0),),
        effect={"name": "rows that look untrained", "value": len(flagged)},
        details={
            "fingerprints": {f.name: {"rows": len(f.rows), **f.about} for f in found},
            "listed": listed,
            "round_trip": round_trip(table),
        },
        counterexamples=listed[:10],
    )


def _zero_rows(table: EmbeddingTable) -> NDArray[np.int64]:
    """Zero rows that would be in the population but for having no direction."""
    rows: NDArray[np.int64] = np.flatnonzero(table.status == RowStatus.ZERO)
    if table.kind == "known":
        rows = rows[table.vocabulary.status[rows] == RowStatus.KNOWN]
    return rows


def _listed(table: EmbeddingTable, row: int, norms: NDArray[np.float64], found: list[Fingerprint]) -> dict[str, Any]:
    why = [fingerprint.name for fingerprint in found if row in fingerprint]
    return {"id": row, "token": table.token(row), "value": float(norms[row]), "why": why}


def round_trip(table: EmbeddingTable) -> dict[str, Any]:
    """How many tokens come back from their own text, with examples of those that do not.

    Undecodable tokens are bytes that are no text by themselves; unreachable ones are text that the tokenizer never
    turns into them; the others are reachable, or special, unused or padding.
    """
    named = min(len(table.vectors), len(table.tokens))
    status, kinds = table.vocabulary.status[:named], table.vocabulary.kinds[:named]
    text = (status == RowStatus.KNOWN) | (status == RowStatus.UNREACHABLE)
    broken = np.fromiter((_REPLACEMENT in table.token(row) for row in range(named)), dtype=np.bool_, count=named)
    undecodable = text & ((kinds == TokenKind.BYTE) | broken)
    groups = {
        "reachable": text & ~undecodable & (status == RowStatus.KNOWN),
        "unreachable": text & ~undecodable & (status == RowStatus.UNREACHABLE),
        "undecodable": undecodable,
        "special": status == RowStatus.SPECIAL,
        "unused": status == RowStatus.UNUSED,
    }
    counts = {name: int(mask.sum()) for name, mask in groups.items()}
    return {
        **counts,
        "padding": len(table.vectors) - named,
        "examples": {
            name: [{"id": int(row), "token": table.token(int(row))} for row in np.flatnonzero(groups[name])[:EXAMPLES]]
            for name in ("unreachable", "undecodable")
        },
    }
