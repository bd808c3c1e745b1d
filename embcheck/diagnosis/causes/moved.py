"""Which reference row stands under which candidate row: shifted, permuted, truncated, under other tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.diagnosis.explanation import Explanation
from embcheck.diagnosis.view import View, sampled

if TYPE_CHECKING:
    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["by_content", "matched", "truncated"]

ALIGNED = 0.5  # cosine from the mean above which a row is the one it stands beside
SURE, CLEAR = 0.7, 0.6  # cosine of the nearest reference row, and how far it is as a share of the next
EQUAL = 1e-5  # less a cosine than 1: rows that are equal, as are those that are copies of each other
QUERIES = 256
ONE_OFFSET = 0.9  # of the rows that are recognised
MOST_SHARDS = 16
CLEARLY = 0.1  # of a cosine: rows that fit better where they are than elsewhere, on average
SAME = 1e-4  # of a cosine: rows nearer than that are one
BLOCK = 4_096
ACCOUNTED = -2  # for a row without a source that a cause speaks of already


def by_content(view: View) -> tuple[View, Explanation | None]:
    """The view with rows that stand elsewhere in the reference put beside them, and how they moved."""
    compared = view.compared()
    is_off = (view.source >= 0) & ~(compared.cosine >= ALIGNED)
    if is_off.sum() < 2:
        return view, None
    queries = sampled(np.flatnonzero(is_off), QUERIES)
    sources, is_sure = matched(view, queries, view.reference)
    if is_sure.mean() < ALIGNED:
        return view, None
    queries, sources = queries[is_sure], sources[is_sure]
    offsets = sources - queries
    values, counts = np.unique(offsets, return_counts=True)
    offset = int(values[counts.argmax()])
    if counts.max() >= ONE_OFFSET * len(offsets) and offset != 0:
        return _shifted(view, offset)
    if not is_off[np.clip(sources, 0, len(is_off) - 1)].mean() > ONE_OFFSET or len(np.unique(sources)) < len(sources):
        return view, None  # rows that still stand in their own place as well: copies
    if len(values) <= MOST_SHARDS and counts.min() > 2 and (shards := _shards(view, values)) is not None:
        return shards
    return _permuted(view, is_off)


def matched(view: View, queries: Ints, table: EmbeddingTable) -> tuple[Ints, Bools]:
    """The row of a table nearest to each candidate row by cosine from the mean, and whether that is beyond doubt.

    The table's rows stand as the reference's would under the causes found so far, unless it is the candidate's own.
    """
    own = table is view.candidate
    wanted = view.actual(queries)
    center = view.actual(view.sample[0]).median(0).values
    unit = torch.nn.functional.normalize(torch.nan_to_num(wanted - center), dim=1).float()
    middle = center if own else view.predicted(view.sample[0]).median(0).values
    kind = torch.float64 if view.maps else torch.float32
    middle = middle.to(kind)
    nearest = torch.full((len(queries), 2), -2.0)
    ids = torch.zeros((len(queries), 2), dtype=torch.int64)
    for part in table.slices(len(table.vectors)):
        rows = view.actual(part, kind) if own else view.through(np.arange(part.start, part.stop), kind)
        block = torch.nn.functional.normalize(torch.nan_to_num(rows - middle), dim=1).float()
        cosines = unit @ block.T
        if own:
            inside = (queries >= part.start) & (queries < part.stop)
            cosines[np.flatnonzero(inside), queries[inside] - part.start] = -2
        top = torch.topk(cosines, min(2, cosines.shape[1]), dim=1)
        both, names = torch.cat([nearest, top.values], 1), torch.cat([ids, top.indices + part.start], 1)
        nearest, order = torch.topk(both, 2, dim=1)
        ids = names.gather(1, order)
    apart = 1 - nearest  # half the squared distance of unit vectors
    is_sure = (nearest[:, 0] >= SURE) & ((apart[:, 0] <= CLEAR * apart[:, 1]) | (apart[:, 0] < EQUAL))
    return ids[:, 0].numpy(), is_sure.numpy()


def _shifted(view: View, offset: int) -> tuple[View, Explanation | None]:
    """Rows from one on, to the end or to another, stand under the reference row so far before or behind."""
    size = len(view.source)
    ids = np.arange(size)
    moved = ids + offset
    moved[(moved < 0) | (moved >= len(view.reference.vectors))] = -1
    other = view.with_(source=np.where(view.source >= 0, moved, -1))
    here, there = (_filled(v.compared().cosine) for v in (view, other))
    start, end = _best_run(there - here)
    if end + abs(offset) >= size or float((here - there)[end:].mean()) < CLEARLY:
        end = size
    if end < size and end - start <= abs(offset):
        return view, None  # so few of rows that stand in their own place as well: copies
    for _ in range(-offset):  # rows that were put in fit neither here nor there: the first of them is where it began
        start -= int(start > 0 and here[start - 1] < ALIGNED)
    is_moved = (ids >= start) & (ids < end)
    source = np.where(is_moved, np.where(moved < 0, ACCOUNTED, moved), view.source)
    filled = view.with_(source=source)
    seam = np.arange(max(0, start - abs(offset)), min(size, start + abs(offset)))  # the rows that were put in
    source[seam] = np.where(filled.compared().cosine[seam] >= ALIGNED, source[seam], ACCOUNTED)
    return view.with_(source=source), _explain_shift(view, offset, start, end)


def _explain_shift(view: View, offset: int, start: int, end: int) -> Explanation:
    apart, last = f"{abs(offset)} {'later' if offset < 0 else 'earlier'} than their tokens do", end - 1
    first = f"#{start} ({view.candidate.token(start)!r})"
    parameters, rows = {"by": -offset, "from": start}, tuple(range(start, end))
    if end < len(view.source):
        return Explanation(
            "rows_shifted",
            {**parameters, "to": last},
            rows=rows,
            sentence=f"rows {first} to #{last} ({view.candidate.token(last)!r}) stand {apart}, the others do not",
            remedy=f"rows were copied within the table, {abs(offset)} off: write these again from the reference",
        )
    return Explanation(
        "rows_shifted",
        parameters,
        rows=rows,
        sentence=f"rows from {first} on stand {apart}" if start else f"all rows stand {apart}",
        remedy="a row was inserted or lost where the vocabulary was resized or converted: take that row out (or put it "
        f"back) at #{start} and save again",
    )


def _best_run(gain: Floats) -> tuple[int, int]:
    """The first row and the one past the last of the run whose gains add up to most."""
    total = np.concatenate([[0.0], np.cumsum(gain)])
    least = np.minimum.accumulate(total)
    end = int((total - least).argmax())
    return int(total[: end + 1].argmin()), end


def _filled(cosine: Floats) -> Floats:
    return np.nan_to_num(cosine, nan=0.0)


def _shards(view: View, offsets: Ints) -> tuple[View, Explanation | None] | None:
    """Blocks of rows in another order, each with one offset."""
    ids = np.arange(len(view.source))
    size = len(view.reference.vectors)
    offsets = np.union1d(offsets, [0])
    best, source = np.full(len(ids), -2.0), view.source.copy()
    for offset in offsets:
        moved = ids + offset
        moved[(moved < 0) | (moved >= size)] = -1
        cosine = np.nan_to_num(view.with_(source=moved).compared().cosine, nan=-2.0)
        source = np.where(cosine > best, moved, source)
        best = np.maximum(cosine, best)
    steps = np.flatnonzero(np.diff(source - ids)) + 1
    if len(steps) > 4 * len(offsets):
        return None
    starts = np.concatenate([[0], steps])
    order = ", ".join(f"#{int(source[s])}" for s in starts)
    return view.with_(source=source), Explanation(
        "rows_permuted",
        {"blocks": len(starts), "order": order},
        rows=tuple(np.flatnonzero(source != ids).tolist()),
        sentence=f"{len(starts)} blocks of rows are joined in the wrong order: reference rows {order} stand one after "
        "the other",
        remedy="join the shards in the order of their ranks or of the index file",
    )


def _permuted(view: View, is_off: Bools) -> tuple[View, Explanation | None]:
    """Each row that is not what it stands beside put where it is nearest: of near tokens, some only seem to be."""
    source, cosine = view.source.copy(), view.compared().cosine
    rows = np.flatnonzero((view.source >= 0) & ~(cosine >= 1 - SAME))
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        sources, is_sure = matched(view, part, view.reference)
        source[part] = np.where(is_sure, sources, np.where(is_off[part], ACCOUNTED, source[part]))
    moved = np.flatnonzero((source != view.source) & (view.source >= 0))
    return view.with_(source=source), Explanation(
        "rows_permuted",
        {"moved": len(moved), "of": len(view.source)},
        rows=tuple(moved.tolist()),
        sentence=f"{len(moved)} of {len(view.source)} rows stand under other tokens, in no regular order",
        remedy="the table was written in another order of ids than its tokens: sort rows by the id that the tokenizer "
        "gives, or ship the tokenizer that belongs to the rows",
    )


def truncated(view: View) -> Explanation | None:
    """Reference rows past the candidate's last one."""
    before, after = len(view.reference.vectors), len(view.candidate.vectors)
    shift = int(view.source.max(initial=-1)) + 1
    if after >= before or shift >= before:
        return None
    lost = before - max(after, shift)
    named = min(len(view.reference.tokens), before) - max(after, shift)
    held = f", {named} of them tokens," if named > 0 else ""
    return Explanation(
        "rows_truncated",
        {"rows": lost, "from": before - lost},
        sentence=f"the last {lost} of the reference's {before} rows{held} {'is' if lost == 1 else 'are'} gone",
        remedy="ids past the end have no row any more; save the table at the tokenizer's size, or read every shard",
    )
