"""Kinds of made-up words: how far what sets a kind apart is from a right angle to what it is a kind of."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import lexicons, measures, needs, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

SIZES = ((5, 3, 4), (3, 4), (3, 3))
D = 16
few = settings(max_examples=10, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def taxonomy(words):
    """Three trees of seven kinds."""
    names = iter(words(sum(map(sum, SIZES))))

    def kind(tree, i, size):
        return lexicons.Category(f"k{tree}{i}", tuple(next(names) for _ in range(size)))

    trees = []
    for t, sizes in enumerate(SIZES):
        kinds = tuple(kind(t, i, size) for i, size in enumerate(sizes))
        trees.append(lexicons.Hierarchy(f"tree{t}", "", kinds))
    return lexicons.Taxonomy("made up", tuple(trees))


@pytest.fixture(scope="module")
def noise(taxonomy, words):
    """``noise(seed)``: stretched random rows about a mean of their own under these words and 272 others."""

    def make(seed=0, width=D):
        rng = np.random.default_rng(seed)
        turn = np.linalg.qr(rng.standard_normal((width, width)))[0]
        mixed = rng.standard_normal((300, width)) * np.linspace(0.3, 3, width) @ turn + 1
        tokens = words(300)
        assert set(taxonomy.words) <= set(tokens)
        return EmbeddingTable.from_arrays(mixed.astype("f4"), tokens)

    return make


@pytest.fixture(scope="module")
def planted(noise, taxonomy):
    """Rows of each tree about a direction of its own, of each kind about another, all at right angles."""

    def make(seed=0, *, right=True):
        table, rng = noise(seed, 64), np.random.default_rng(seed)
        vectors = rng.standard_normal((300, 64)) / 8
        axes = iter(np.linalg.qr(rng.standard_normal((64, 64)))[0])
        for tree in taxonomy.trees:
            shared = 4 * next(axes)
            for i, group in enumerate(tree.groups):  # or each kind a shorter or longer way along the tree's own axis
                apart = next(axes) if right else (i - 0.6) / 2 * shared
                vectors[[table.tokens.index(w) for w in group.words]] += shared + apart
        return table.with_vectors(torch.tensor(vectors, dtype=torch.float32))

    return make


def find(table, taxonomy, inner="euclidean", draws=9):
    with using(Settings(draws=draws)):
        return measures.hierarchy_orthogonality(table, taxonomy, inner, rng=np.random.default_rng(0))


def check(taxonomy, inner):
    module = importlib.import_module("embcheck.properties.hierarchy_orthogonality")
    return Check(module.hierarchy_orthogonality, {"taxonomy": taxonomy, "inner": inner})


def naive(table, taxonomy, inner):
    """Absolute cosine of each kind's contrast with its tree, word by word, in float64."""
    v = table.vectors.double().numpy()
    v = v - v.mean(0)
    if inner == "causal":
        values, axes = np.linalg.eigh(np.cov(v.T, bias=True))
        v = v @ axes @ np.diag(values**-0.5) @ axes.T
    row = {token: v[i] for i, token in enumerate(table.tokens)}
    cosines = {}
    for tree in taxonomy.trees:
        parent = np.mean([row[w] for group in tree.groups for w in group.words], axis=0)
        for group in tree.groups:
            contrast = np.mean([row[w] for w in group.words], axis=0) - parent
            cosines[f"{group.name} < {tree.name}"] = (
                contrast @ parent / np.sqrt(contrast @ contrast * (parent @ parent))
            )
    return cosines


@pytest.mark.parametrize("inner", ["euclidean", "causal"])
@pytest.mark.parametrize("seed", range(2))
def test_equals_the_definition(noise, taxonomy, inner, seed):
    """The value is the mean absolute cosine of seven kinds, exact; the largest are the counterexamples."""
    table = noise(seed)
    found, expected = find(table, taxonomy, inner), naive(table, taxonomy, inner)
    assert (found.value, found.n) == (pytest.approx(np.mean(np.abs([*expected.values()])), rel=1e-4), 7)
    assert found.is_exact
    assert {k["token"]: k["cosine"] for k in found.details["kinds"]} == pytest.approx(expected, abs=1e-5)
    sizes = [abs(entry["value"]) for entry in found.counterexamples]
    assert sizes == sorted(sizes, reverse=True)


def test_right_angles_and_one_line_in_closed_form(words):
    """Kinds at right angles to their tree give 0, kinds along its direction 1."""
    names = words(40)
    groups = [lexicons.Category(f"k{i}", tuple(names[3 * i : 3 * i + 3])) for i in range(6)]
    trees = tuple(lexicons.Hierarchy(f"tree{t}", "", groups[2 * t : 2 * t + 2]) for t in range(3))
    for along, value in ((0, 1.0), (1, 0.0)):
        rows = np.zeros((40, 3))
        for i in range(6):
            rows[3 * i : 3 * i + 3, 0] = 2
            rows[3 * i : 3 * i + 3, along] += 1 if i % 2 else -1
        rows[18:, 0] = -36 / 22  # the mean of all is zero
        table = EmbeddingTable.from_arrays(rows.astype("f4"), names)
        assert find(table, lexicons.Taxonomy("lines", trees)).value == pytest.approx(value, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-3, 1e3))
@few
def test_shifts_rotations_and_factors_change_nothing(noise, taxonomy, seed, factor):
    """Euclidean values stay under rotation, one factor, one shift; causal ones under any invertible linear map."""
    table, rng = noise(seed), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((D, D)))[0]
    bent = turn @ np.diag(np.linspace(0.3, 3, D)) @ np.linalg.qr(rng.standard_normal((D, D)))[0]
    for inner, maps in (("euclidean", [turn]), ("causal", [turn, bent])):
        before = find(table, taxonomy, inner).value
        for one in maps:
            vectors = factor * (table.vectors.double().numpy() @ one + 0.5)
            moved = table.with_vectors(torch.tensor(vectors, dtype=torch.float32))
            assert find(moved, taxonomy, inner).value == pytest.approx(before, abs=2e-3)


def test_a_linear_map_changes_the_euclidean_value(noise, taxonomy):
    """What the causal inner product takes away: columns of other scales."""
    table = noise()
    bent = table.with_vectors(table.vectors * torch.logspace(-1, 1, D))
    assert abs(find(bent, taxonomy).value - find(table, taxonomy).value) > 0.02


@pytest.mark.parametrize("inner", ["euclidean", "causal"])
def test_draws_are_the_value_on_random_words(noise, taxonomy, inner):
    """A draw is the value of the same kinds on words drawn from the vocabulary, as the declared null gives them."""
    table = noise()
    draws = find(table, taxonomy, inner, draws=999).draws["random_words"]
    moved = [nulls.random_words(table, {"taxonomy": taxonomy}, np.random.default_rng(k))[0] for k in range(60)]
    again = np.array([find(t, taxonomy, inner).value for t in moved])
    assert again.mean() == pytest.approx(draws.mean(), abs=5 * draws.std() / np.sqrt(60))


@pytest.mark.parametrize("inner", ["euclidean", "causal"])
def test_kinds_at_right_angles_hold_and_others_do_not(planted, noise, taxonomy, rng, inner):
    """Planted right angles hold; kinds along their tree, random words in their place, and noise do not."""
    table = planted()
    assert evaluate(check(taxonomy, inner), table, Settings()).verdict is Verdict.HOLDS
    drawn = nulls.random_words(table, {"taxonomy": taxonomy}, rng)[0]
    for other in (planted(right=False), drawn, noise(1)):
        assert evaluate(check(taxonomy, inner), other, Settings()).verdict in {Verdict.REFUTED, Verdict.INCONCLUSIVE}


def test_what_is_left_out(noise, taxonomy):
    """Kinds of fewer than three words go, then trees of one kind; fewer than six kinds are not asked about."""
    table = noise()
    lost = taxonomy.trees[0].groups[1].words[0]
    kept = np.array([i for i, token in enumerate(table.tokens) if token != lost])
    assert needs.kinds("taxonomy")(table.subset(kept), {"taxonomy": taxonomy}) is None
    found = find(table.subset(kept), taxonomy)
    assert (found.n, "k01 < tree0" in str(found.details["kinds"])) == (6, False)
    also = taxonomy.trees[1].groups[0].words[0]
    fewer = table.subset(np.array([i for i in kept if table.tokens[i] != also]))
    assert needs.kinds("taxonomy")(fewer, {"taxonomy": taxonomy}) == "4 of 7 made up"
    with pytest.raises(NotMeasurable, match="4 kinds have 3 words that are single tokens; at least 6"):
        find(fewer, taxonomy)


def test_what_can_not_be_whitened(noise, taxonomy):
    """No covariance is inverted of no more rows than columns, equal rows have no directions, a typo is an error."""
    flat = noise().with_vectors(noise().vectors[:1].expand(300, D).clone())
    for inner in ("euclidean", "causal"):
        with pytest.raises(NotMeasurable, match="all rows are equal"):
            find(flat, taxonomy, inner)
    with pytest.raises(NotMeasurable, match="300 rows do not tell the covariance of 300 columns"):
        find(noise(width=300), taxonomy, "causal")
    with pytest.raises(UsageError, match="inner is 'cosine'; choose one of euclidean, causal"):
        find(noise(), taxonomy, "cosine")


def test_columns_that_depend_on_others_are_left_out(noise, taxonomy):
    """A column that repeats another adds no direction: the causal value is that without it."""
    table = noise()
    doubled = table.with_vectors(torch.cat([table.vectors, table.vectors[:, :3]], dim=1))
    assert find(doubled, taxonomy, "causal").value == pytest.approx(find(table, taxonomy, "causal").value, abs=1e-3)


def test_the_shipped_taxonomy_is_all_hierarchies():
    """Its words are the members of all kinds, none twice, and no kind's name."""
    made = lexicons.taxonomy()
    assert made.trees == lexicons.hierarchies()
    names = {name for tree in made.trees for name in (tree.name, *tree.names)}
    assert len(set(made.words)) == len(made.words) == sum(len(g.words) for t in made.trees for g in t.groups)
    assert names.isdisjoint(made.words)
