"""What must not change the measures of geometry, as properties over random tables; and what does, stated as such."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import measures
from embcheck.measures.geometry import neighbor_count_skewness
from embcheck.table import EmbeddingTable

ROWS, WIDTH = 90, 20
SHORT = 4

few = settings(max_examples=10, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)

MEASURES = {
    "normalization": lambda table, rng: measures.constant_length_share(table),
    "background_similarity": lambda table, rng: measures.background_cosine(table),
    "hubness": lambda table, rng: measures.neighbor_count_skewness(table, rng=rng),
    "effective_dimension": lambda table, rng: measures.participation_share(table, rng=rng),
    "isotropy": lambda table, rng: measures.mean_cosine(table, rng=rng),
    "frequency_norm": lambda table, rng: measures.norm_frequency_correlation(table),
    "untrained_tokens": lambda table, rng: measures.untrained_share(table),
    "metric_agreement": lambda table, rng: measures.metric_agreement(table),
}


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbor_count_skewness, "DRAWS", 3)
        patch.setattr(neighbor_count_skewness, "SAMPLE", 40)
        yield


@pytest.fixture(scope="module")
def make(words):
    def build(seed):
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((ROWS, WIDTH)) + 0.3
        vectors *= rng.uniform(0.05, 0.4, (ROWS, 1))
        vectors[:SHORT] *= 1e-4
        return vectors, words(ROWS)

    return build


def run(name, vectors, tokens):
    found = MEASURES[name](EmbeddingTable.from_arrays(vectors, tokens), np.random.default_rng(0))
    return found.value, found.low, found.high


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds)
@few
def test_rotation_changes_nothing(name, make, seed):
    """An orthogonal map of all rows changes no length and no cosine, so no measure."""
    vectors, tokens = make(seed)
    turn = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((WIDTH, WIDTH)))[0]
    assert run(name, vectors @ turn, tokens) == pytest.approx(run(name, vectors, tokens), abs=1e-5)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=seeds, factor=st.floats(1e-6, 1e6))
@few
def test_one_positive_factor_changes_nothing(name, make, seed, factor):
    """The scale of the whole table plays no part."""
    vectors, tokens = make(seed)
    assert run(name, vectors * factor, tokens) == pytest.approx(run(name, vectors, tokens), abs=1e-5)


def test_unit_length_depends_on_scale(make):
    """Whether rows are of length 1 is a matter of scale; whether they are of one length is not."""
    vectors, tokens = make(0)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    here, twice = (measures.constant_length_share(EmbeddingTable.from_arrays(v, tokens)) for v in (unit, 2 * unit))
    assert (here.value, here.effect["value"], twice.value, twice.effect["value"]) == (1, 1, 1, 0)


def test_the_partition_function_depends_on_scale(make):
    """I(W) exponentiates raw rows: ten times longer ones are less isotropic, as the cosines are not."""
    vectors, tokens = make(0)
    here, longer = (
        measures.mean_cosine(EmbeddingTable.from_arrays(v, tokens), rng=np.random.default_rng(0))
        for v in (vectors, 10 * vectors)
    )
    assert longer.details["partition_isotropy"] < here.details["partition_isotropy"] / 2
    assert longer.value == pytest.approx(here.value, abs=1e-6)


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"frequency_norm"}))
@given(seed=seeds)
@few
def test_the_order_of_rows_changes_nothing(name, make, seed):
    """Shuffling rows together with their tokens changes no value and no interval."""
    vectors, tokens = make(seed)
    order = np.random.default_rng(seed + 1).permutation(ROWS)
    shuffled = run(name, vectors[order], [tokens[i] for i in order])
    assert shuffled == pytest.approx(run(name, vectors, tokens), abs=1e-6)


def test_the_row_id_is_what_stands_in_for_frequency(make):
    """Reversing rows with their tokens negates the correlation: the stand-in for frequency is the id."""
    vectors, tokens = make(0)
    forward, back = run("frequency_norm", vectors, tokens), run("frequency_norm", vectors[::-1].copy(), tokens[::-1])
    assert back[0] == pytest.approx(-forward[0])
    assert abs(forward[0]) > 0.01


@pytest.mark.parametrize("name", ["hubness", "isotropy"])
@given(seed=seeds)
@few
def test_a_positive_factor_for_each_row_changes_nothing_on_unit_vectors(name, make, seed):
    """Measures of unit vectors see directions only: each row may have a factor of its own."""
    vectors, tokens = make(seed)
    factors = np.random.default_rng(seed + 1).uniform(0.1, 10, (ROWS, 1))
    assert run(name, vectors * factors, tokens) == pytest.approx(run(name, vectors, tokens), abs=1e-6)


@pytest.mark.parametrize("name", ["effective_dimension", "metric_agreement", "frequency_norm", "untrained_tokens"])
def test_measures_of_raw_rows_depend_on_each_length(name, make):
    """Measures of raw vectors change when each row gets a factor of its own."""
    vectors, tokens = make(0)
    factors = 10 ** np.random.default_rng(1).uniform(-1.0, 1.0, (ROWS, 1))
    factors[:SHORT] = 1e4
    assert abs(run(name, vectors * factors, tokens)[0] - run(name, vectors, tokens)[0]) > 0.02


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_tables_equal_their_float32_copies(name, dtype, make):
    """Products run in float32: a table stored in half precision gives, bit for bit, what its float32 copy gives."""
    vectors, tokens = make(3)
    half = torch.from_numpy(vectors).to(dtype)
    assert run(name, half, tokens) == run(name, half.float(), tokens)
    assert half.dtype == dtype
