import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.models import neighbor_overlap
from embcheck.measures.models.alignment import align, linear_cka
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import RowStatus

K = 5
few = settings(max_examples=10, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(neighbor_overlap, "DRAWS", 199)


@pytest.fixture(scope="module")
def pair(words):
    """``pair(seed)``: two related tables of 12 and 7 columns whose vocabularies overlap, in another order."""

    def make(seed=0, rows=90, noise=0.5):
        rng = np.random.default_rng(seed)
        tokens = words(rows)
        a = rng.standard_normal((rows, 12))
        b = a[:, :7] + noise * rng.standard_normal((rows, 7))
        order = rng.permutation(rows)[: rows - 10]
        first = EmbeddingTable.from_arrays(a.astype("f4"), tokens)
        return first, EmbeddingTable.from_arrays(b[order].astype("f4"), [tokens[i] for i in order])

    return make


def find(tables, k=K, seed=0):
    return measures.neighbor_overlap(tables, k, rng=np.random.default_rng(seed))


def verdict(tables, **how):
    function = importlib.import_module("embcheck.properties.neighbor_overlap").neighbor_overlap
    return evaluate(Check(function, other="b"), tables, Settings(), **how)


def naive(tables, k=K):
    """Jaccard index of each shared token, from the definition, in float64."""
    vectors = [dict(zip(t.tokens, t.vectors.double().numpy(), strict=True)) for t in tables]
    shared = [w for w in tables[0].tokens if w in vectors[1]]

    def near(side, word):
        v = side[word]
        cosine = {w: v @ side[w] / math.sqrt((v @ v) * (side[w] @ side[w])) for w in shared if w != word}
        return set(sorted(cosine, key=lambda w: -cosine[w])[:k])

    lists = {w: [near(side, w) for side in vectors] for w in shared}
    return {w: len(a & b) / len(a | b) for w, (a, b) in lists.items()}


def naive_cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def shared_rows(tables):
    shared = align(tables)
    rows = zip(tables, (shared.first, shared.second), strict=True)
    return [table.vectors[torch.from_numpy(ids)].double().numpy() for table, ids in rows]


# --- the measure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(pair, seed):
    """Over all shared tokens the value is the mean Jaccard index, exact; the lowest are the counterexamples."""
    tables = pair(seed)
    found, expected = find(tables), naive(tables)
    assert (found.value, found.is_exact, found.n) == (pytest.approx(np.mean(list(expected.values()))), True, 80)
    assert [entry["value"] for entry in found.counterexamples] == pytest.approx(sorted(expected.values())[:10])
    for entry in (*found.counterexamples, *found.details["highest"]):
        assert entry["value"] == pytest.approx(expected[entry["token"]])
        assert tables[0].token(entry["id"]) == tables[1].token(entry["other_id"]) == entry["token"]
    assert found.details["share_of_population"] == {"first": pytest.approx(80 / 90), "second": 1.0}


def test_words_of_the_lists_are_named_with_their_overlap(words, rng):
    """Two words of each category that both tables have stand in the details, each with its own Jaccard index."""
    tokens = [*words(60), "dog", "cat", "happy"]
    first = EmbeddingTable.from_arrays(rng.standard_normal((63, 12)).astype("f4"), tokens)
    second = EmbeddingTable.from_arrays(rng.standard_normal((62, 7)).astype("f4"), tokens[:-1])
    with using(Settings(probes=30)):
        found = find((first, second)).details["words"]
    expected = naive((first, second))
    assert found == pytest.approx({word: expected[word] for word in found})
    assert {"dog", "cat"} & set(found)
    assert "happy" not in found


def test_probes_are_a_sample_of_the_tokens(pair):
    """With fewer probes each has the Jaccard index that it has among all, and the interval is that of a sample."""
    tables = pair()
    with using(Settings(probes=30)):
        found = find(tables)
    expected = naive(tables)
    order = align(tables).first
    probes = [tables[0].token(int(row)) for row in tables[0].probes(30, among=order)]
    assert found.units.tolist() == pytest.approx([expected[word] for word in probes])
    assert (found.n, found.unit, found.is_exact) == (30, "probe tokens", False)
    assert "finite-population" in found.method
    with using(Settings(probes="all")):
        assert find(tables).value == pytest.approx(np.mean(list(expected.values())))


def test_a_table_overlaps_with_itself_entirely(pair):
    """A table and itself have the same lists, and a CKA of 1."""
    table = pair()[0]
    found = find((table, table))
    assert (found.value, found.details["cka"]["value"]) == (1.0, pytest.approx(1))


def test_texts_of_several_rows_are_left_out(words):
    """A text that two rows of one table have names neither; special rows and padding are no tokens."""
    tokens = [*words(70), "twin", "twin", "<unk>"]
    vectors = np.random.default_rng(0).standard_normal((len(tokens), 6)).astype("f4")
    first = EmbeddingTable.from_arrays(vectors, tokens)
    first.vocabulary.status[71] = RowStatus.KNOWN  # as of two tokens of a tokenizer that look alike
    second = EmbeddingTable.from_arrays(vectors[:71], tokens[:71])
    shared = align((first, second))
    assert (len(shared), shared.ambiguous) == (70, (1, 0))
    padded = [EmbeddingTable(t.vectors, type(t.vocabulary)(words(60)), t.provenance, "all") for t in (first, first)]
    assert len(align(tuple(padded))) == 60


def test_rows_with_spaces_are_other_tokens(words):
    """Texts must be identical, leading space and case and all."""
    tokens = words(70)
    vectors = np.random.default_rng(0).standard_normal((70, 6))
    tables = [EmbeddingTable.from_arrays(vectors, names) for names in (tokens, [f" {t}" for t in tokens])]
    with pytest.raises(NotMeasurable, match="no token of the one vocabulary"):
        find(tuple(tables))


def test_too_few_shared_tokens(pair):
    """With 60 shared tokens lists of 20 say little: skipped with the numbers; 61 are enough."""
    with pytest.raises(NotMeasurable, match="60 shared tokens are too few for lists of 20 neighbors; more than 60"):
        find(pair(rows=70), k=20)
    assert find(pair(rows=71), k=20).n == 61
    with pytest.raises(UsageError, match="k >= 1, got 0"):
        find(pair(), k=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_tables_equal_their_float32_copies(pair, dtype):
    """A table in half precision gives what its float32 copy gives, and keeps its dtype."""
    first, second = pair()
    half = first.with_vectors(first.vectors.to(dtype))
    found, copied = find((half, second)), find((half.with_vectors(half.vectors.float()), second))
    assert (found.value, found.details["cka"]) == (copied.value, copied.details["cka"])
    assert half.vectors.dtype == dtype


# --- what must not change it ----------------------------------------------------------------------------------------


def numbers(tables):
    found = find(tables)
    return [found.value, *found.details["cka"].values()]


@given(seed=seeds, factor=st.floats(1e-6, 1e6), side=st.integers(0, 1))
@few
def test_rotation_and_scale_of_either_table_change_nothing(pair, seed, factor, side):
    """An orthogonal map and a factor for one of the tables change neither the overlap nor CKA."""
    tables = list(pair(seed))
    before = numbers(tuple(tables))
    vectors = tables[side].vectors.double().numpy()
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((vectors.shape[1],) * 2))[0]
    tables[side] = EmbeddingTable.from_arrays((factor * vectors @ turn), tables[side].tokens)
    assert numbers(tuple(tables)) == pytest.approx(before, abs=1e-5)


@given(seed=seeds)
@few
def test_the_order_of_rows_and_of_tables_changes_nothing(pair, seed):
    """Rows permuted together with their tokens, and the tables exchanged, give the same overlap and CKA."""
    first, second = pair(seed)
    order = np.random.default_rng(seed).permutation(len(second.vectors))
    moved = EmbeddingTable.from_arrays(second.vectors.numpy()[order], [second.tokens[i] for i in order])
    before = numbers((first, second))
    assert numbers((first, moved)) == pytest.approx(before, abs=1e-6)
    assert numbers((second, first)) == pytest.approx(before, abs=1e-6)


def test_a_factor_for_each_row_changes_cka_only(pair):
    """Lists are of directions; CKA is of rows as stored."""
    first, second = pair()
    long = second.with_vectors(second.vectors * torch.linspace(0.1, 10, len(second.vectors))[:, None])
    before, after = numbers((first, second)), numbers((first, long))
    assert after[0] == pytest.approx(before[0])
    assert abs(after[1] - before[1]) > 0.02


# --- linear CKA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_cka_equals_the_definition(pair, shift):
    """Linear CKA is that of the float64 rows, wherever their mean lies."""
    first, second = pair()
    tables = (first, second.with_vectors(second.vectors + shift))
    assert linear_cka(tables, align(tables)).value == pytest.approx(naive_cka(*shared_rows(tables)), rel=1e-5)


@pytest.mark.parametrize(("width", "rows"), [(3, 6), (10, 7)])
def test_the_null_of_cka_is_that_of_all_alignments(words, width, rows):
    """Mean and deviation in closed form equal those over all n! alignments, of skewed rows too."""
    rng = np.random.default_rng(width)
    x, y = rng.standard_normal((rows, 4)) ** 3, rng.standard_normal((rows, width))
    y[:, :3] += x[:, :3]
    values = [naive_cka(x, y[list(order)]) for order in itertools.permutations(range(rows))]
    tables = tuple(EmbeddingTable.from_arrays(v.astype("f4"), words(rows)) for v in (x, y))
    found = linear_cka(tables, align(tables))
    assert found.shuffled_mean == pytest.approx(np.mean(values), rel=1e-4)
    assert found.shuffled_deviation == pytest.approx(np.std(values), rel=1e-4)


def test_cka_of_a_table_without_spread_is_no_number(words):
    """Where all rows of one table are equal there is nothing to align: null in the report."""
    tables = [EmbeddingTable.from_arrays(v, words(70)) for v in (np.ones((70, 3)), np.eye(70))]
    assert math.isnan(linear_cka(tuple(tables), align(tuple(tables))).value)


# --- the null -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probes", [None, 30])
def test_draws_are_the_value_on_shuffled_tables(pair, monkeypatch, probes):
    """A draw, made of the probes' lists alone, is what the measure gives on tables aligned that way."""
    monkeypatch.setattr(neighbor_overlap, "DRAWS", 3)
    tables = pair()
    shared, twin = align(tables), np.random.default_rng(8)
    with using(Settings(probes=probes)):
        draws = find(tables, seed=8).draws["shuffled_alignment"]
        drawn = tables[0].probes(probes or len(shared), among=shared.first)
        chosen = np.searchsorted(shared.first, drawn)
        others = np.setdiff1d(np.arange(80), chosen)
        for draw in draws:
            order, rest = twin.permutation(len(chosen)), twin.permutation(others)
            vectors = tables[1].vectors.clone()
            vectors[shared.second[chosen]] = tables[1].vectors[shared.second[chosen[order]]]
            vectors[shared.second[others]] = tables[1].vectors[shared.second[rest]]
            assert find((tables[0], tables[1].with_vectors(vectors))).value == pytest.approx(draw)
    assert len(set(draws)) == 3


def test_the_declared_null_permutes_the_second_table(pair, rng):
    """``shuffled_alignment`` keeps the first table and the second's vectors, and moves these among shared tokens."""
    tables = pair()
    (first, second), _ = nulls.shuffled_alignment(tables, {}, rng)
    assert first is tables[0]
    assert not torch.equal(second.vectors, tables[1].vectors)
    assert torch.equal(second.vectors.sort(0).values, tables[1].vectors.sort(0).values)
    assert find((first, second)).value < find(tables).value / 3


# --- the property ---------------------------------------------------------------------------------------------------


def test_a_rotated_copy_holds_and_its_null_does_not(pair, rng):
    """A table and its rotation with noise overlap; after the alignment is shuffled, or on noise, they do not."""
    table = pair(rows=300)[0]
    turned, _ = nulls.rotated(table, {}, rng)
    noisy = turned.with_vectors(turned.vectors + 0.3 * torch.randn(turned.vectors.shape))
    assert verdict((table, noisy)).verdict is Verdict.HOLDS
    shuffled, _ = nulls.shuffled_alignment((table, noisy), {}, rng)
    noise, _ = nulls.gaussian(noisy, {}, rng)
    for other in (shuffled, (table, noise)):
        assert verdict(other).verdict in {Verdict.REFUTED, Verdict.INCONCLUSIVE}


def test_control_puts_noise_in_the_place_of_the_second_table(pair):
    """Under control the first table stays and the second is random, over shared tokens: it hardly ever holds there."""
    tables = pair(rows=300)
    found = verdict(tables, control=True)
    assert found.verdict is Verdict.HOLDS
    assert (found.control.tables, found.control.rows, found.control.vacuous) == (20, 290, False)
    small = nulls.control_subsets(tables, 100, {})
    assert [len(table.vectors) for table in small] == [100, 100]
    assert len(align(small)) == 100


def test_control_of_tables_that_share_nothing(words, rng):
    """Where no token is shared, either table's own rows are taken."""
    tokens = words(70)
    tables = [EmbeddingTable.from_arrays(rng.standard_normal((70, 6)), [p + t for t in tokens]) for p in ("", " ")]
    assert [len(table.vectors) for table in nulls.control_subsets(tuple(tables), 50, {})] == [50, 50]
