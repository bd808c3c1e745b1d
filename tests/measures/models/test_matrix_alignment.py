"""Both matrices of one model: the cosine of a token's two rows."""

import importlib

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from embcheck import measures, needs, nulls, sources
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.models import matrix_alignment
from embcheck.settings import Settings, using
from embcheck.sources.models.live import from_module
from embcheck.spec import parse
from embcheck.table import EmbeddingTable

few = settings(max_examples=10, deadline=None, derandomize=True)


def both(seed=0, rows=80, width=12, strength=0.5, names=None):
    """A table, and as its output matrix so much of itself, and noise; each with a direction of its own."""
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((rows, width)) + 0.3
    u = strength * e + rng.standard_normal((rows, width)) - 0.5
    return with_output(e, u, names or [f"t{i}" for i in range(rows)])


def with_output(e, u, names):
    table = EmbeddingTable.from_arrays(np.asarray(e, dtype=np.float32), names)
    return table.with_tensors({("output", 0): torch.tensor(np.asarray(u), dtype=torch.float32)})


def find(table, seed=0):
    return measures.matrix_alignment(table, rng=np.random.default_rng(seed))


def check():
    return Check(importlib.import_module("embcheck.properties.matrix_alignment").matrix_alignment)


def naive(table, rows=slice(None)):
    """Cosine of each token's two rows, in float64, one by one."""
    e, u = (weights[: len(table.vectors)].double().numpy()[rows] for weights in (table.vectors, table.tensor("output")))
    return np.array([x @ y / np.sqrt((x @ x) * (y @ y)) for x, y in zip(e, u, strict=True)])


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed):
    """Over all tokens the value is the mean cosine of their two rows, exact; the smallest are the counterexamples."""
    table = both(seed)
    found, expected = find(table), naive(table)
    assert (found.value, found.n, found.is_exact) == (pytest.approx(expected.mean(), abs=1e-6), 80, True)
    assert [entry["value"] for entry in found.counterexamples] == pytest.approx(sorted(expected)[:10], abs=1e-6)
    for entry in found.counterexamples:
        assert entry["value"] == pytest.approx(expected[entry["id"]], abs=1e-6)
        assert entry["token"] == f"t{entry['id']}"


def test_probes_are_a_sample():
    """With fewer probes each token has its own cosine, and the interval is that of a sample without replacement."""
    table = both()
    with using(Settings(probes=30)):
        found, probes = find(table), table.probes(30)
    assert found.units == pytest.approx(naive(table, probes), abs=1e-6)
    assert "finite-population" in found.method
    assert found.parts[0].labels == tuple(f"t{row}" for row in probes)


def test_rows_that_are_multiples_have_the_cosine_one():
    """A closed form: positive multiples of the input give 1, negative ones -1, right angles 0."""
    e = np.kron(np.eye(4), np.ones((10, 1)))
    names = [f"t{i}" for i in range(40)]
    for u, value in ((3 * e, 1.0), (-2 * e, -1.0), (np.roll(e, 1, axis=1), 0.0)):
        found = find(with_output(e, u, names))
        assert found.value == pytest.approx(value, abs=1e-7)


def test_the_null_is_on_average_the_product_of_the_mean_directions():
    """Mean and deviation over all ways to deal out the output rows are known: the mean is that of all n^2 cosines."""
    table = both(rows=200)
    e, u = (np.asarray(w / w.norm(dim=1, keepdim=True)) for w in (table.vectors, table.tensor("output")))
    draws = find(table).draws["shuffled_output"]
    assert len(draws) == 999
    assert draws.mean() == pytest.approx(float(e.mean(0) @ u.mean(0)), abs=5 * draws.std() / np.sqrt(999))
    exact = np.sqrt(((e - e.mean(0)) @ (u - u.mean(0)).T).__pow__(2).sum() / 199) / 200  # Hoeffding (1951)
    assert draws.std() == pytest.approx(exact, rel=0.1)


def test_draws_are_the_value_on_shuffled_tables(monkeypatch):
    """A draw is what the measure gives where output rows are exchanged so, in blocks of probes."""
    monkeypatch.setattr(matrix_alignment, "DRAWS", 3)
    monkeypatch.setattr(matrix_alignment, "BLOCK", 50)
    table, twin = both(), np.random.default_rng(8)
    draws, probes = find(table, seed=8).draws["shuffled_output"], table.probes(80)
    blocks = [(probes[:50], twin.permuted(np.tile(np.arange(50), (3, 1)), axis=1))]
    blocks.append((probes[50:], twin.permuted(np.tile(np.arange(30), (3, 1)), axis=1)))
    for i, draw in enumerate(draws):
        moved = table.tensor("output").clone()
        for rows, orders in blocks:
            moved[rows] = table.tensor("output")[rows[orders[i]]]
        assert find(table.with_tensors({("output", 0): moved})).value == pytest.approx(draw, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@few
def test_one_rotation_of_both_and_factors_change_nothing(seed, factor):
    """A rotation of both matrices, a factor for either, rows in another order: the same value."""
    table, rng = both(seed), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    order = rng.permutation(80)
    e, u = (weights.double().numpy()[order] @ turn for weights in (table.vectors, table.tensor("output")))
    moved = with_output(factor * e, u / factor, [table.tokens[i] for i in order])
    assert find(moved).value == pytest.approx(find(table).value, abs=1e-5)


def test_a_rotation_of_one_matrix_takes_it_away():
    """The two matrices are read in one space: turned against each other, they agree no more."""
    table, rng = both(rows=400, width=32, strength=2.0), np.random.default_rng(1)
    assert find(table).value > 0.7
    assert abs(find(nulls.rotated(table, {}, rng)[0]).value) < 0.3


def test_planted_alignment_holds_and_nulls_do_not(rng):
    """Outputs that contain the input hold; dealt out anew, beside noise, or with none of it, they do not."""
    table = both(rows=600, width=32)
    assert evaluate(check(), table, Settings()).verdict is Verdict.HOLDS
    shuffled, noise = nulls.shuffled_output(table, {}, rng)[0], nulls.gaussian(table, {}, rng)[0]
    assert torch.equal(shuffled.tensor("output").sort(0).values, table.tensor("output").sort(0).values)
    for other in (shuffled, noise, both(rows=600, width=32, strength=0.0)):
        assert evaluate(check(), other, Settings()).verdict in {Verdict.REFUTED, Verdict.INCONCLUSIVE}


def test_control_keeps_each_token_its_output_row():
    """A subset's tokens keep their own output rows, and noise in the place of the input makes the claim fail."""
    table = both(rows=600, width=32)
    rows = np.array([7, 3, 500])
    assert torch.equal(table.subset(rows).tensor("output"), table.tensor("output")[[7, 3, 500]])
    assert torch.equal(table.subset(rows).subset(np.array([2, 0])).tensor("output"), table.tensor("output")[[500, 7]])
    result = evaluate(check(), table, Settings(), control=True)
    assert (result.verdict, result.control.vacuous) == (Verdict.HOLDS, False)


def test_output_rows_without_a_direction_are_left_out():
    """A zero or non-finite output row has no cosine; the other tokens have theirs."""
    table = both()
    output = table.tensor("output").clone()
    output[3], output[5] = 0, float("inf")
    found, kept = find(table.with_tensors({("output", 0): output})), np.delete(np.arange(80), [3, 5])
    assert (found.n, found.value) == (78, pytest.approx(naive(table, kept).mean(), abs=1e-6))


# --- which models have both -------------------------------------------------------------------------------------------


TOKENIZER = Tokenizer(models.WordLevel({name: i for i, name in enumerate(["[UNK]", *"abcdefghij"])}, unk_token="[UNK]"))


def tiny_llama(*, tied):
    """A model with random weights, and three more rows than the tokenizer has tokens."""
    sizes = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=14, tie_word_embeddings=tied, pad_token_id=0, **sizes)
    return transformers.LlamaForCausalLM(config)


def saved(model, folder):
    model.save_pretrained(folder)
    TOKENIZER.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("place", ["directory", "memory"])
def test_an_untied_model_is_asked(tmp_path, place):
    """Saved or in memory, an untied model's output matrix is its lm_head, and the value the mean cosine with it."""
    untied = tiny_llama(tied=False)
    if place == "directory":
        table = sources.load(parse(str(saved(untied, tmp_path))), device="cpu")
    else:
        table = from_module(untied, TOKENIZER)
    assert torch.equal(table.tensor("output"), untied.lm_head.weight)
    assert needs.output()(table, {}) is None
    assert find(table).value == pytest.approx(naive(table, table.population).mean(), abs=1e-6)


def test_a_model_that_stores_its_tied_matrix_twice_is_tied():
    """Equal numbers are one matrix, also where the table was converted to another dtype."""
    table = both()
    half = table.with_vectors(table.vectors.bfloat16())
    for same in (table, half.with_vectors(half.vectors.float())):
        tied = same.with_tensors({("output", 0): half.vectors if same is not table else table.vectors.clone()})
        assert needs.output()(tied, {}) == "no output matrix of its own"


@pytest.mark.parametrize("place", ["directory", "memory", "output", "noise", "short"])
def test_other_tables_are_not_asked(tmp_path, place):
    """A tied model, the output matrix itself, a table of no model and an output matrix of fewer rows are n/a."""
    made, table = tiny_llama(tied=place != "output"), both()
    folder = saved(made, tmp_path)
    tables = {
        "directory": lambda: sources.load(parse(str(folder)), device="cpu"),
        "output": lambda: sources.load(parse(f"{folder},matrix=output"), device="cpu"),
        "memory": lambda: from_module(made, TOKENIZER),
        "noise": lambda: EmbeddingTable.from_arrays(np.eye(9), [f"t{i}" for i in range(9)]),
        "short": lambda: table.with_tensors({("output", 0): table.tensor("output")[:60]}),
    }
    result = evaluate(check(), tables[place](), Settings())
    assert (result.verdict, result.reason) == (Verdict.NOT_APPLICABLE, "no output matrix of its own")
    with pytest.raises(NotMeasurable):
        find(tables[place]())
