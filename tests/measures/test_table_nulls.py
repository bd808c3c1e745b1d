import torch

from embcheck import lexicons, nulls
from embcheck.table import EmbeddingTable
from embcheck.vocabulary import TokenKind

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
    everything = [*words(6000), *lexicons.words(), *ASCII]
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
