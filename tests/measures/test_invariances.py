"""What must not change a measure, as properties over random tables; and what does change it, stated as such."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import lexicons, measures
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable

WIDTH, PAIRS = 9, 21
ASCII = [chr(c) for c in range(0x61, 0x61 + 8)]
GREEK = [chr(c) for c in range(0x3B1, 0x3C9)]

few = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutations, "PERMUTATIONS", 20)
        patch.setattr(permutations, "PERMUTATIONS", 20)
        yield


@pytest.fixture(scope="module")
def pairs(words):
    names = words(2 * PAIRS)
    return lexicons.relation("made up", list(zip(names[:PAIRS], names[PAIRS:], strict=True)))


@pytest.fixture(scope="module")
def make(words):
    def build(seed):
        tokens = [*words(2 * PAIRS + 90), *ASCII, *GREEK]
        vectors = np.random.default_rng(seed).standard_normal((len(tokens), WIDTH)) + 0.3
        vectors[PAIRS : 2 * PAIRS, 0] += 1.5
        return vectors, tokens

    return build


def run(name, table, pairs):
    """Value, low and high of one measure."""
    a, b = pairs.pairs[0]
    c, target = pairs.pairs[1]
    rng = np.random.default_rng(0)
    found = {
        "share": lambda: measures.non_negative_share(table),
        "classes": lambda: measures.negative_share_difference(table, "ascii", rng=rng),
        "offsets": lambda: measures.offset_consistency(table, pairs, rng=rng),
        "rank": lambda: measures.analogy_rank(table, lexicons.Analogy("made up", a, b, c, target)),
        "gain": lambda: measures.analogy_gain(table, pairs),
    }[name]()
    return found.value, found.low, found.high


MEASURES = ["share", "classes", "offsets", "rank", "gain"]


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@few
def test_rotation_changes_nothing(name, make, pairs, seed):
    """An orthogonal map of all rows changes no cosine, so no measure."""
    vectors, tokens = make(seed)
    turn = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((WIDTH, WIDTH)))[0]
    before = run(name, EmbeddingTable.from_arrays(vectors, tokens), pairs)
    assert run(name, EmbeddingTable.from_arrays(vectors @ turn, tokens), pairs) == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds, factor=st.floats(1e-6, 1e6))
@few
def test_one_positive_factor_changes_nothing(name, make, pairs, seed, factor):
    """The scale of the whole table plays no part."""
    vectors, tokens = make(seed)
    before = run(name, EmbeddingTable.from_arrays(vectors, tokens), pairs)
    assert run(name, EmbeddingTable.from_arrays(vectors * factor, tokens), pairs) == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@few
def test_the_order_of_rows_changes_nothing(name, make, pairs, seed):
    """Shuffling rows together with their tokens changes no value and no interval."""
    vectors, tokens = make(seed)
    order = np.random.default_rng(seed + 1).permutation(len(tokens))
    before = run(name, EmbeddingTable.from_arrays(vectors, tokens), pairs)
    shuffled = EmbeddingTable.from_arrays(vectors[order], [tokens[i] for i in order])
    assert run(name, shuffled, pairs) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("name", ["share", "classes", "rank", "gain"])
@given(seed=seeds)
@few
def test_a_positive_factor_for_each_row_changes_nothing_on_unit_vectors(name, make, pairs, seed):
    """Measures of unit vectors see directions only: each row may have a factor of its own."""
    vectors, tokens = make(seed)
    factors = np.random.default_rng(seed + 1).uniform(0.1, 10, (len(tokens), 1))
    before = run(name, EmbeddingTable.from_arrays(vectors, tokens), pairs)
    assert run(name, EmbeddingTable.from_arrays(vectors * factors, tokens), pairs) == pytest.approx(before, abs=1e-6)


def test_offsets_depend_on_the_length_of_each_row(make, pairs):
    """Offsets are differences of raw vectors: factors that differ by row change their consistency."""
    vectors, tokens = make(0)
    factors = np.random.default_rng(1).uniform(0.1, 10, (len(tokens), 1))
    before = run("offsets", EmbeddingTable.from_arrays(vectors, tokens), pairs)
    after = run("offsets", EmbeddingTable.from_arrays(vectors * factors, tokens), pairs)
    assert abs(after[0] - before[0]) > 0.02


def test_raw_3cosadd_depends_on_the_length_of_each_row(make):
    """3CosAdd on raw vectors, unlike that on unit vectors, moves with the lengths of a, b and c."""
    vectors, tokens = make(0)
    long = vectors.copy()
    long[1] *= 50
    analogy = lexicons.Analogy("made up", *tokens[:4])
    before, after = (
        measures.analogy_rank(EmbeddingTable.from_arrays(v, tokens), analogy).details for v in (vectors, long)
    )
    assert before["ranks"]["3cosadd"] == after["ranks"]["3cosadd"]
    assert before["ranks"]["3cosadd_raw"] != after["ranks"]["3cosadd_raw"]


def test_a_translation_changes_the_share_but_not_offsets(make, pairs):
    """Moving all rows by one vector leaves offsets as they are, and shifts the signs of cosines."""
    vectors, tokens = make(0)
    here, moved = EmbeddingTable.from_arrays(vectors, tokens), EmbeddingTable.from_arrays(vectors + 2.0, tokens)
    assert run("offsets", moved, pairs) == pytest.approx(run("offsets", here, pairs), abs=1e-6)
    assert run("share", moved, pairs)[0] > run("share", here, pairs)[0] + 0.1


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_tables_equal_their_float32_copies(name, dtype, make, pairs):
    """Products run in float32: a table stored in half precision gives, bit for bit, what its float32 copy gives."""
    vectors, tokens = make(3)
    half = torch.from_numpy(vectors).to(dtype)
    stored = run(name, EmbeddingTable.from_arrays(half, tokens), pairs)
    assert stored == run(name, EmbeddingTable.from_arrays(half.float(), tokens), pairs)


def test_half_precision_stays_in_its_dtype(make):
    """A table keeps the dtype it was stored in; no measure converts it as a whole."""
    vectors, tokens = make(3)
    table = EmbeddingTable.from_arrays(torch.from_numpy(vectors).half(), tokens)
    measures.non_negative_share(table)
    assert table.vectors.dtype == torch.float16
