import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embcheck import measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.models import relative_orientation
from embcheck.measures.models.alignment import align
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

few = settings(max_examples=10, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def pair(words):
    """``pair(seed)``: two related tables of 12 and 7 columns whose vocabularies overlap, in another order."""

    def make(seed=0, rows=90, noise=0.5, *, spaces=False):
        rng = np.random.default_rng(seed)
        tokens = words(rows)
        a = rng.standard_normal((rows, 12)) + 1
        b = a[:, :7] + noise * rng.standard_normal((rows, 7))
        order = rng.permutation(rows)[: rows - 10]
        names = [(" " if spaces else "") + tokens[i] for i in order]
        first = EmbeddingTable.from_arrays(a.astype("f4"), tokens)
        return first, EmbeddingTable.from_arrays(b[order].astype("f4"), names)

    return make


def find(tables, seed=0):
    return measures.relative_orientation(tables, rng=np.random.default_rng(seed))


def verdict(tables, **how):
    function = importlib.import_module("embcheck.properties.relative_orientation").relative_orientation
    return evaluate(Check(function, other="b"), tables, Settings(), **how)


def cosines(tables, chosen=None, *, centred=True):
    """Cosines of the pairs of shared words in either table, pair by pair."""
    sides = []
    for table in tables:
        vectors = dict(zip((t.strip() for t in table.tokens), table.vectors.double().numpy(), strict=True))
        sides.append(vectors)
    shared = [w for w in sides[0] if w in sides[1]]
    chosen = shared if chosen is None else chosen
    x = []
    for side in sides:
        mean = np.mean([side[w] for w in shared], axis=0) if centred else 0
        v = {w: side[w] - mean for w in chosen}
        cosine = lambda p, q: p @ q / math.sqrt((p @ p) * (q @ q))  # noqa: E731
        x.append([cosine(v[p], v[q]) for i, p in enumerate(chosen) for q in chosen[:i]])
    return np.array(x)


def naive(tables, chosen=None, *, centred=True):
    """Pearson's correlation of them."""
    return np.corrcoef(cosines(tables, chosen, centred=centred))[0, 1]


def pair_variance(tables, chosen):
    """Mean square of what influences leave beside the best part for either word, over the number of pairs."""
    pairs = [(i, j) for j in range(len(chosen)) for i in range(j)]
    x, y = (stats.zscore(cells) for cells in cosines(tables, chosen))
    influence = x * y - np.mean(x * y) * (x**2 + y**2) / 2
    design = np.zeros((len(pairs), len(chosen)))
    for row, pair in enumerate(pairs):
        design[row, list(pair)] = 1
    rest = influence - design @ np.linalg.lstsq(design, influence, rcond=None)[0]
    return rest @ rest / (len(pairs) - len(chosen)) / len(pairs)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(pair, seed):
    """Over all shared words the value is the correlation of their pairs' cosines about the mean, exact."""
    tables = pair(seed)
    found = find(tables)
    assert (found.value, found.n, found.is_exact) == (pytest.approx(naive(tables), abs=1e-6), 80, True)
    assert found.details["as_stored"] == pytest.approx(naive(tables, centred=False), abs=1e-6)
    assert found.details["shared"] == found.details["words"] == 80


def test_a_sample_is_the_first_words_in_hash_order(pair):
    """With 30 probes the value is that of 30 words about the mean of all, the replicates those without each of them."""
    tables = pair()
    with using(Settings(probes=30)):
        found = find(tables)
    shared = align(tables, words=True)
    chosen = [tables[0].token(int(row)) for row in tables[0].probes(30, among=shared.first)]
    assert (found.value, found.n, found.is_exact) == (pytest.approx(naive(tables, chosen), abs=1e-6), 30, False)
    without = np.array([naive(tables, chosen[:i] + chosen[i + 1 :]) for i in range(30)])
    apart = found.value - found.units
    assert np.corrcoef(apart, without)[0, 1] == pytest.approx(1, abs=1e-6)
    share = np.std(apart) ** 2 / (29**2 * np.var(without)) / (1 - 30 / 80)  # of the variance, which is kept
    assert share == pytest.approx(1 - pair_variance(tables, chosen) / (29**2 / 30 * np.var(without)), abs=1e-3)
    assert 0.5 < share < 1
    assert found.method == "jackknife-t over words, finite-population correction"


def test_words_are_shared_whatever_marks_their_beginning(pair):
    """A table whose words have a leading space shares them with one whose words have none."""
    plain, spaced = pair(), pair(spaces=True)
    assert find(spaced).value == pytest.approx(find(plain).value)
    with pytest.raises(NotMeasurable, match="no token"):
        align(spaced)


def test_a_table_and_its_rotation_agree_entirely(pair, rng):
    """A closed form: a rotation, a factor and a shift of one table leave all cosines about the mean as they are."""
    table = pair()[0]
    turned, _ = nulls.rotated(table, {}, rng)
    moved = turned.with_vectors(3 * turned.vectors + torch.linspace(-2, 2, 12))
    assert find((table, moved)).value == pytest.approx(1, abs=1e-5)
    worst, best = (find((table, moved)).counterexamples[0], find((table, moved)).details["highest"][0])
    assert (worst["value"], best["value"]) == (pytest.approx(1, abs=1e-5), pytest.approx(1, abs=1e-5))


def test_two_words_that_change_places_in_closed_form(words):
    """Of 30 words on three axes, two change places: 36 of the 435 cosines, which are one of two values, differ."""
    tokens = words(30)
    axes = np.repeat(np.eye(3), 10, axis=0)
    other = axes.copy()
    other[[0, 10]] = other[[10, 0]]  # two words change places
    first, second = (EmbeddingTable.from_arrays(v.astype("f4"), tokens) for v in (axes, other))
    share, both = 135 / 435, (135 - 36 / 2) / 435  # of the pairs: on one axis, and on one in either table
    assert find((first, second)).value == pytest.approx((both - share**2) / (share * (1 - share)), abs=1e-5)


@given(seed=seeds, factor=st.floats(1e-6, 1e6), side=st.integers(0, 1))
@few
def test_rotation_scale_and_order_change_nothing(pair, seed, factor, side):
    """An orthogonal map and a factor for either table, rows in another order, and tables exchanged: the same value."""
    tables = list(pair(seed))
    before = find(tuple(tables)).value
    vectors, rng = tables[side].vectors.double().numpy(), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((vectors.shape[1],) * 2))[0]
    order = rng.permutation(len(vectors))
    tokens = [tables[side].tokens[i] for i in order]
    tables[side] = EmbeddingTable.from_arrays((factor * vectors @ turn)[order].astype("f4"), tokens)
    assert find(tuple(tables)).value == pytest.approx(before, abs=1e-5)
    assert find(tuple(tables[::-1])).value == pytest.approx(before, abs=1e-5)


def test_draws_are_the_value_on_shuffled_tables(pair, monkeypatch):
    """A draw is what the measure gives where the second table's rows are dealt out so; the null gives such tables."""
    monkeypatch.setattr(relative_orientation, "DRAWS", 3)
    tables, twin = pair(), np.random.default_rng(8)
    draws = find(tables, seed=8).draws["shuffled_words"]
    shared = align(tables, words=True)
    chosen = np.searchsorted(shared.first, tables[0].probes(80, among=shared.first))
    for order, draw in zip(twin.permuted(np.tile(np.arange(80), (3, 1)), axis=1), draws, strict=True):
        vectors = tables[1].vectors.clone()
        vectors[shared.second[chosen]] = tables[1].vectors[shared.second[chosen[order]]]
        assert find((tables[0], tables[1].with_vectors(vectors))).value == pytest.approx(draw, abs=1e-6)
    spaced = pair(spaces=True)
    (first, second), _ = nulls.shuffled_words(spaced, {}, twin)
    assert first is spaced[0]
    assert torch.equal(second.vectors.sort(0).values, spaced[1].vectors.sort(0).values)
    assert abs(find((first, second)).value) < find(spaced).value / 3


def test_too_few_words_and_no_spread_are_no_numbers(pair, words):
    """19 shared words are skipped, and so are tables whose cosines are all equal."""
    with pytest.raises(NotMeasurable, match="19 shared words are too few"):
        find(pair(rows=29))
    flat = [EmbeddingTable.from_arrays(v.astype("f4"), words(30)) for v in (np.eye(30), np.eye(30)[::-1].copy())]
    with pytest.raises(NotMeasurable, match="all equal in one"):
        find(tuple(flat))


def test_a_rotated_copy_holds_and_noise_does_not(pair, rng):
    """A table and its rotation with noise hold; with rows dealt out anew, or noise for one of them, they do not."""
    table = pair(rows=300)[0]
    turned, _ = nulls.rotated(table, {}, rng)
    noisy = turned.with_vectors(turned.vectors + 0.3 * torch.randn(turned.vectors.shape))
    assert verdict((table, noisy)).verdict is Verdict.HOLDS
    shuffled, _ = nulls.shuffled_words((table, noisy), {}, rng)
    noise, _ = nulls.gaussian(noisy, {}, rng)
    for other in (shuffled, (table, noise)):
        assert verdict(other).verdict in {Verdict.REFUTED, Verdict.INCONCLUSIVE}


def test_control_puts_noise_in_the_place_of_the_second_table(pair):
    """Under control the second table is random, and it hardly ever holds there."""
    found = verdict(pair(rows=300), control=True)
    assert (found.verdict, found.control.vacuous) == (Verdict.HOLDS, False)
