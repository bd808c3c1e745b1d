import numpy as np
import pytest
import torch

from embcheck import lexicons, nulls
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import TokenKind

ASCII = [chr(c) for c in range(33, 127)]


def test_the_gaussian_null_keeps_tokens_and_shape_only(gaussian_table, rng):
    """The null table has the tokens, shape and population rules of the model, and none of its vectors."""
    table = gaussian_table(500, 20, shift=4)
    noise, parameters = nulls.gaussian(table, {"x": 1}, rng)
    assert list(noise.tokens) == list(table.tokens)
    assert (noise.vectors.shape, noise.vectors.dtype, parameters) == (table.vectors.shape, torch.float32, {"x": 1})
    assert abs(float(noise.vectors.mean())) < 0.05
    assert abs(float(noise.vectors.std()) - 1) < 0.05


def test_the_gaussian_null_shares_nothing_worked_out_for_the_model(gaussian_table, rng):
    """Lengths found for the model's vectors are not those of the null's."""
    table = gaussian_table(50, 20, shift=4)
    assert float(table.norms.mean()) > 15
    assert float(nulls.gaussian(table, {}, rng)[0].norms.mean()) < 6


def test_the_control_keeps_what_checks_need(words, rng):
    """A control subset holds the lexicons' words, a parameter's words and the ASCII characters, then probes."""
    own = words(6000)[5000:5010]
    everything = list(dict.fromkeys([*words(6000), *lexicons.words(), *ASCII]))
    order = rng.permutation(len(everything))
    table = EmbeddingTable.from_arrays(rng.standard_normal((len(everything), 3)), [everything[i] for i in order])
    relation = lexicons.relation("made up", list(zip(own[:5], own[5:], strict=True)))
    small = nulls.control_subset(table, 3000, {"relation": relation})
    assert len(small.vectors) == 3000
    assert set(own) | set(ASCII) | set(lexicons.words()) <= set(small.tokens)
    assert len(small.of_kind(TokenKind.ASCII_CHARACTER)) == 94
    row = small.rows([own[0]])[0]
    assert torch.equal(small.vectors[row], table.vectors[table.rows([own[0]])[0]])


def test_a_small_table_is_its_own_control(gaussian_table):
    """A population below the limit is taken whole, in the order of its rows."""
    table = gaussian_table(40, 3, gaps=True)
    assert list(nulls.control_subset(table, 100, {}).tokens) == [table.token(r) for r in table.population]


def population_of(table):
    return table.vectors.double().numpy()[table.population]


def test_a_row_shuffle_permutes_the_population_only(gaussian_table, rng):
    """The rows of known tokens change places; reserved, special, zero and bad rows stay where they are."""
    table = gaussian_table(300, 6, gaps=True)
    shuffled, parameters = nulls.row_shuffled(table, {"x": 1}, rng)
    before, after = population_of(table), population_of(shuffled)
    assert shuffled.population.tolist() == table.population.tolist()
    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert {tuple(row) for row in before} == {tuple(row) for row in after}
    assert (before != after).any(1).mean() > 0.9
    outside = np.setdiff1d(np.arange(300), table.population)
    assert np.array_equal(table.vectors[outside].numpy(), shuffled.vectors[outside].numpy(), equal_nan=True)
    assert parameters == {"x": 1}


def test_a_column_shuffle_keeps_each_column_and_no_row(gaussian_table, rng):
    """Every column has the values it had, in another order of its own; correlations between columns are gone."""
    table = gaussian_table(2000, 4)
    table = table.with_vectors(table.vectors + 2 * table.vectors[:, :1])
    shuffled, _ = nulls.column_shuffled(table, {}, rng)
    before, after = population_of(table), population_of(shuffled)
    assert np.array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert np.abs(np.corrcoef(before.T) - np.eye(4)).max() > 0.8
    assert np.abs(np.corrcoef(after.T) - np.eye(4)).max() < 0.1
    assert {tuple(row) for row in before}.isdisjoint(tuple(row) for row in after)


def test_a_rotation_keeps_lengths_and_cosines(gaussian_table, rng, cosines):
    """A random orthogonal map keeps every length and cosine, and moves every entry."""
    table = gaussian_table(150, 6, shift=0.5, gaps=True)
    turned, _ = nulls.rotated(table, {}, rng)
    assert np.allclose(cosines(turned), cosines(table), atol=1e-6, equal_nan=True)
    assert np.allclose(turned.norms[table.population], table.norms[table.population], rtol=1e-6)
    assert np.abs(population_of(turned) - population_of(table)).mean() > 0.3


def test_rotations_are_uniform(rng):
    """The image of one axis is uniform on the sphere: its entries have mean 0 and variance 1/d."""
    axis = EmbeddingTable.from_arrays(np.eye(5)[:2], ["a", "b"])
    images = np.array([nulls.rotated(axis, {}, rng)[0].vectors[0].numpy() for _ in range(800)])
    assert np.abs(images.mean(0)).max() < 4 * np.sqrt(1 / 5 / 800)
    assert (images**2).mean(0) == pytest.approx(np.full(5, 1 / 5), abs=0.04)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_gaussian_like_keeps_mean_and_covariance(gaussian_table, rng, dtype):
    """The null has the population's mean and covariance, normal entries, and none of its rows."""
    table = gaussian_table(4000, 3, gaps=True)
    mixed = table.vectors @ torch.tensor([[2.0, 1, 0], [0, 1, 0.5], [0, 0, 0.1]]) + torch.tensor([3.0, -1, 0])
    table = table.with_vectors(mixed.to(dtype))
    drawn, _ = nulls.gaussian_like(table, {}, rng)
    before, after = population_of(table), population_of(drawn)
    assert after.mean(0) == pytest.approx(before.mean(0), abs=0.15)
    assert np.cov(after.T) == pytest.approx(np.cov(before.T), abs=0.35)
    assert drawn.vectors.isfinite().all()
    assert drawn.vectors.dtype == torch.float32
    assert {tuple(row) for row in after}.isdisjoint(tuple(row) for row in before)


def test_nulls_of_one_column_work(rng):
    """Width 1 is no special case: the covariance is a number, the rotation a sign."""
    table = EmbeddingTable.from_arrays(np.arange(1.0, 41.0).reshape(40, 1), [f"t{i}" for i in range(40)])
    for null in (nulls.gaussian_like, nulls.rotated, nulls.column_shuffled, nulls.row_shuffled):
        assert null(table, {}, rng)[0].vectors.shape == (40, 1)
