"""Nulls: tables or relabellings without the structure in question, on which a property must not hold.

A null maps ``(table, parameters, rng)`` to ``(table, parameters)``, or for properties of two models
``(tables, parameters, rng)`` to ``(tables, parameters)``. A measure that can draw its null much faster than
by being called again does so, and returns the draws under the null's name in ``Estimate.draws``. Nothing heavy is
imported here, so that ``beats(nulls.shuffled_pairs)`` can be declared without torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embcheck.errors import NotMeasurable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from torch import Tensor

    from embcheck.lexicons import Axis, Categories, OrderedWords, Relation
    from embcheck.stats import Ints
    from embcheck.table import EmbeddingTable

    Parameters = Mapping[str, Any]
    Null = tuple[EmbeddingTable, Parameters]

__all__ = [
    "column_shuffled", "control_subset", "control_subsets", "frequency_matched_pairs", "gaussian", "gaussian_like",
    "random_axes", "random_directions", "rotated", "rotated_neurons", "row_shuffled", "shuffled_alignment",
    "shuffled_categories", "shuffled_labels", "shuffled_numbers", "shuffled_order", "shuffled_pairs",
    "shuffled_spellings", "shuffled_variants",
]  # fmt: skip


def gaussian(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Iid standard normal vectors under the table's tokens: directions uniform on the sphere, float32.

    Generated on the host, so that every device sees the same numbers.
    """
    import numpy as np
    import torch

    noise = torch.from_numpy(rng.standard_normal(tuple(table.vectors.shape), dtype=np.float32))
    return table.with_vectors(noise.to(table.vectors.device)), parameters


def gaussian_like(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Normal vectors with the mean and the covariance of the population, iid, under the table's tokens; float32.

    What a property finds here is explained by mean and covariance alone.
    """
    import numpy as np
    import torch

    from embcheck.measures.kernels.spectrum import spectrum_of

    moments = spectrum_of(table)
    values, axes = np.linalg.eigh(moments.covariance.numpy())
    root = ((axes * np.sqrt(np.clip(values, 0, None))) @ axes.T).astype(np.float32)
    noise = rng.standard_normal(tuple(table.vectors.shape), dtype=np.float32) @ root + moments.mean.astype(np.float32)
    return table.with_vectors(torch.from_numpy(noise).to(table.vectors.device)), parameters


def random_directions(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Each row of the population keeps its distance from their mean, in a direction of its own, uniform; float32."""
    import torch

    from embcheck.measures.kernels import blocks

    center, rows = blocks.mean_vector(table), table.population
    noise = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((len(rows), table.width))))
    turned = (noise * torch.from_numpy(blocks.distances(table, rows, center))[:, None]).float().to(center.device)
    vectors = table.vectors.float().clone()
    vectors[torch.from_numpy(rows).to(center.device)] = center + turned
    return table.with_vectors(vectors), parameters


def row_shuffled(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """The population's rows, permuted among its tokens: what looks at no token stays as it is."""
    population = table.population
    return _move(table, population, population[rng.permutation(len(population))]), parameters


def _move(table: EmbeddingTable, target: Ints, source: Ints) -> EmbeddingTable:
    """The table with the vectors of the source rows at the target rows."""
    import torch

    to, origin = (torch.from_numpy(rows).to(table.vectors.device) for rows in (target, source))
    return table.with_vectors(table.vectors.clone().index_copy_(0, to, table.vectors[origin]))


def column_shuffled(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Each column permuted on its own among the population's rows: every column keeps its values, no row its own."""
    import torch

    population = table.population
    vectors = table.vectors.clone()
    target = torch.from_numpy(population).to(vectors.device)
    for column in range(table.width):
        source = torch.from_numpy(population[rng.permutation(len(population))]).to(vectors.device)
        vectors[target, column] = table.vectors[source, column]
    return table.with_vectors(vectors), parameters


def rotated(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """All rows under one random orthogonal map, uniform (Haar); float32. It changes no length and no cosine."""
    import torch

    from embcheck.measures.kernels.spectrum import haar

    turn = torch.from_numpy(haar(table.width, table.width, rng)).to(table.accumulator).to(table.vectors.device)
    parts: list[Tensor] = [
        (table.vectors[rows].to(table.accumulator) @ turn).float() for rows in table.slices(len(table.vectors))
    ]
    return table.with_vectors(torch.cat(parts)), parameters


def rotated_neurons(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """The basis of the neurons of ``parameters["weights"]`` and ``["layer"]`` turned by a uniform orthogonal map Q.

    W becomes QW, which is equal in law to U R for W = Q_0 R and a uniform frame U. Every cosine, dot product and
    distance of two words' profiles stays; what single neurons have to do with them does not.
    """
    import numpy as np
    import torch

    from embcheck.measures.kernels.spectrum import haar

    role, layer = parameters["weights"], parameters["layer"]
    weights = table.tensor(role, layer).cpu().double().numpy()
    small = np.linalg.qr(weights, mode="r")
    turned = haar(len(weights), len(small), rng) @ small
    return table.with_tensors({(role, layer): torch.from_numpy(turned).to(table.accumulator)}), parameters


def control_subset(
    table: EmbeddingTable, limit: int, parameters: Parameters, also: Ints | None = None
) -> EmbeddingTable:
    """At most ``limit`` rows of the population: all that a check's words and classes need, ``also``, then probes."""
    import numpy as np

    from embcheck import lexicons
    from embcheck.table.vocabulary import TokenKind

    words = [*lexicons.words(), *(w for value in parameters.values() for w in getattr(value, "words", ()))]
    rows = [row for row in table.rows(list(dict.fromkeys(words))) if row is not None]
    classes = [table.of_kind(kind) for kind in (TokenKind.ASCII_CHARACTER, TokenKind.BYTE, TokenKind.CONTROL)]
    more = [] if also is None else [also]
    ordered = np.concatenate([np.array(rows, dtype=np.int64), *classes, *more, table.probes(limit)])
    _, first = np.unique(ordered, return_index=True)
    chosen = ordered[np.sort(first)][:limit]
    return table.subset(np.sort(chosen))


# --- of two models ----------------------------------------------------------------------------------------------------


def shuffled_alignment(
    tables: tuple[EmbeddingTable, ...], parameters: Parameters, rng: np.random.Generator
) -> tuple[tuple[EmbeddingTable, ...], Parameters]:
    """Permute the second table's vectors among the tokens that both have: each keeps its geometry."""
    from embcheck.measures.models.alignment import align

    rows = align(tables).second
    return (tables[0], _move(tables[1], rows, rows[rng.permutation(len(rows))])), parameters


def control_subsets(
    table: EmbeddingTable | tuple[EmbeddingTable, ...], limit: int, parameters: Parameters
) -> tuple[EmbeddingTable, ...]:
    """At most ``limit`` rows of a table, or of either of two: there, as far as may be, of the same shared tokens."""
    import numpy as np

    from embcheck.measures.models.alignment import align

    if not isinstance(table, tuple):
        return (control_subset(table, limit, parameters),)
    try:
        shared = align(table)
    except NotMeasurable:
        return tuple(control_subset(side, limit, parameters) for side in table)
    chosen = np.searchsorted(shared.first, table[0].probes(limit, among=shared.first))
    rows = (shared.first[chosen], shared.second[chosen])
    return tuple(control_subset(side, limit, parameters, also=own) for side, own in zip(table, rows, strict=True))


# --- of labels: uniform draws from groups of relabellings, fixed points allowed, so that permutation p-values are valid


def shuffled_pairs(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the second words of ``parameters["relation"]`` among the pairs that resolve to single tokens."""
    relation: Relation = parameters["relation"]
    pairs = _resolved_pairs(table, relation)
    seconds = [pairs[i][1] for i in rng.permutation(len(pairs))]
    return table, {**parameters, "relation": _with_pairs(relation, zip([a for a, _ in pairs], seconds, strict=True))}


def frequency_matched_pairs(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Replace each second word of ``parameters["relation"]`` by one drawn from its pool of words of like frequency."""
    import numpy as np

    from embcheck.measures.resolve import matched_pools

    relation: Relation = parameters["relation"]
    pairs = _resolved_pairs(table, relation)
    rows = np.array([table.rows(list(pair)) for pair in pairs], dtype=np.int64)
    pools = matched_pools(table, rows, pairs)
    picks = pools[np.arange(len(pools)), rng.integers(0, pools.shape[1], len(pools))]
    words = [table.token(int(row)).strip() for row in picks]
    return table, {**parameters, "relation": _with_pairs(relation, zip([a for a, _ in pairs], words, strict=True))}


def shuffled_labels(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the labels of ``parameters["token_class"]`` among tokens of the same length."""
    import numpy as np

    from embcheck.measures.cosines.negative_share_difference import class_rows, strata

    token_class = parameters["token_class"]
    parts = strata(table, class_rows(table, token_class), by_length=token_class != "byte")
    drawn = [rng.permutation(np.concatenate([part.members, part.comparators]))[: len(part.members)] for part in parts]
    return table, dict(parameters, token_class=tuple(np.concatenate(drawn).tolist()) if drawn else ())


def shuffled_categories(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the single-token words of ``parameters["categories"]`` among the categories, whose sizes stay."""
    categories: Categories = parameters["categories"]
    words = [word for word, row in zip(categories.words, table.rows(categories.words), strict=True) if row is not None]
    known = frozenset(words)
    drawn = iter([words[i] for i in rng.permutation(len(words))])
    groups = tuple(
        replace(group, words=tuple(next(drawn) for word in group.words if word in known)) for group in categories.groups
    )
    return table, {**parameters, "categories": replace(categories, groups=groups)}


def shuffled_order(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the single-token words of ``parameters["sequence"]`` among their places."""
    sequence: OrderedWords = parameters["sequence"]
    words = list(sequence.words)
    resolved = [i for i, row in enumerate(table.rows(words)) if row is not None]
    for i, other in zip(resolved, rng.permutation(resolved), strict=True):
        words[i] = sequence.words[other]
    return table, {**parameters, "sequence": replace(sequence, words=tuple(words))}


def shuffled_numbers(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the vectors of number tokens among the numbers of as many digits."""
    from embcheck.measures.words.last_digit_accuracy import shuffles
    from embcheck.table.spelling import numbers

    values, rows = numbers(table)
    return _move(table, rows, rows[shuffles(values, 1, rng)[0]]), parameters


def shuffled_spellings(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the vectors of the words whose first letter is read, not of those that the readout is made of."""
    from embcheck.measures.words.first_letter_accuracy import made_and_held_out

    rows = made_and_held_out(table)[1]
    return _move(table, rows, rng.permutation(rows)), parameters


def shuffled_variants(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Permute the vectors of the second tokens of the words that two write, by ``parameters["variant"]``."""
    from embcheck.table.spelling import variants

    rows = variants(table, parameters["variant"])[:, 1]
    return _move(table, rows, rng.permutation(rows)), parameters


def random_axes(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Replace the pairs of ``parameters["axis"]`` by as many drawn from the single-token words of all lexicons."""
    from embcheck.measures.resolve import axis_pool

    axis: Axis = parameters["axis"]
    pool = axis_pool(axis)
    words = [word for word, row in zip(pool, table.rows(pool), strict=True) if row is not None]
    size = len(_resolved_pairs(table, axis.poles))
    drawn = [words[i] for i in rng.permutation(len(words))[: 2 * size]]
    poles = _with_pairs(axis.poles, zip(drawn[:size], drawn[size:], strict=True))
    other = axis.orthogonal_to
    if other is not None:  # the same pairs as before, whatever words were drawn
        other = replace(other, poles=_with_pairs(other.poles, axis.away))
    return table, {**parameters, "axis": replace(axis, poles=poles, orthogonal_to=other)}


def _resolved_pairs(table: EmbeddingTable, relation: Relation) -> list[tuple[str, str]]:
    rows = table.rows([word for pair in relation.pairs for word in pair])
    return [pair for i, pair in enumerate(relation.pairs) if rows[2 * i] is not None and rows[2 * i + 1] is not None]


def _with_pairs(relation: Relation, pairs: Iterable[tuple[str, str]]) -> Relation:
    return replace(relation, strata={"null": tuple(pairs)})
