"""Hidden states of a model on prompts: layers, rows, numbers against a naive forward pass, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
)

import embcheck
from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.sources.demo import demo_folder
from embcheck.sources.hidden import model as hidden
from embcheck.spec import parse
from embcheck.sweep import sweep

PROMPTS = ["The cats sat on the mat.", "Unbelievable tokamaks!", "A dog barked at the postman all night.", "Why not?"]


@pytest.fixture
def prompts(tmp_path):
    """A file of a few prompts, one of them twice."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join([*PROMPTS, "", PROMPTS[0]]))
    return path


@pytest.fixture(scope="module")
def naive():
    """Every layer of the demo model on one prompt at a time, without the tokens around it, as float64."""
    model = AutoModel.from_pretrained(demo_folder()).eval()
    tokenizer = AutoTokenizer.from_pretrained(demo_folder())

    def states(prompt):
        with torch.no_grad():
            said = model(**tokenizer(prompt, return_tensors="pt"), output_hidden_states=True)
        return [layer[0, 1:-1].double().numpy() for layer in said.hidden_states]

    return states


@pytest.fixture
def save_gpt(tmp_path, byte_level):
    """Save a small causal model without a padding token, and return its folder."""

    def save(**options):
        torch.manual_seed(0)
        folder = tmp_path / "gpt"
        GPT2Model(
            GPT2Config(vocab_size=300, n_positions=12, n_embd=16, n_layer=2, n_head=2, **options)
        ).save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=byte_level).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def runs(monkeypatch):
    """For each run of a model, the layers that were kept of it."""
    seen = []
    run = hidden._run

    def counted(model, encoded, device, layers):
        seen.append(layers)
        return run(model, encoded, device, layers)

    monkeypatch.setattr(hidden, "_run", counted)
    return seen


@pytest.fixture
def short(tmp_path):
    """Prompts for a model that takes twelve tokens."""
    path = tmp_path / "short.txt"
    path.write_text("A dog\nWhy not\na b c d\nx y z w")
    return path


def test_only_the_layer_that_is_asked_for_is_kept(save_gpt, short, runs):
    """Of one layer, that one; of all, all of one run."""
    folder = save_gpt()
    embcheck.load(f"hidden:{folder}@layer=1,prompts={short}", device="cpu")
    assert runs == [(1,)]
    embcheck.check(f"hidden:{folder}@layer=all,prompts={short}", properties="isotropy", device="cpu")
    assert runs[1:] == [(0, 1, 2)]


def test_a_sweep_runs_a_model_once(save_gpt, short, runs, tmp_path):
    """Whether all layers are asked for at once or some of them one by one, and however many tasks run at once."""
    folder = save_gpt()
    options = {"executor": "thread", "workers": 2, "properties": ["isotropy"]}
    all_layers = sweep([f"hidden:{folder}@layer=all,prompts={short}"], out=tmp_path / "a.parquet", **options)
    assert runs == [(0, 1, 2)]
    some = [f"hidden:{folder}@layer={layer},prompts={short}" for layer in (0, 2)]
    found = sweep(some, out=tmp_path / "b.parquet", **options)
    assert runs[1:] == [(0, 2)]
    assert [row["value"] for row in found.rows] == [all_layers.rows[layer]["value"] for layer in (0, 2)]


def test_an_encoder_with_a_decoder_gives_its_encoder(byte_level, prompts, tmp_path):
    """BART's settings count the layers of both; the states are those of the encoder's."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 40}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    model = BartModel(BartConfig(vocab_size=300, encoder_layers=3, decoder_layers=1, **sizes, **heads)).eval()
    model.save_pretrained(tmp_path / "bart")
    PreTrainedTokenizerFast(tokenizer_object=byte_level).save_pretrained(tmp_path / "bart")
    specs = sources.expand(parse(f"hidden:{tmp_path / 'bart'}@layer=all,prompts={prompts}"))
    assert len(specs) == 4
    table = sources.load(specs[2], device="cpu")
    ids = torch.tensor([byte_level.encode(PROMPTS[0]).ids])
    with torch.no_grad():
        expected = model.get_encoder()(input_ids=ids, output_hidden_states=True).hidden_states[2][0]
    np.testing.assert_allclose(table.vectors[: ids.shape[1]].numpy(), expected.numpy(), atol=1e-5)


def share(rows):
    """The share of pairs with a cosine of zero or more, by the definition."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return (cosines >= 0).mean()


@pytest.mark.slow
def test_every_layer_of_the_demo_model_equals_a_naive_forward_pass(naive, prompts):
    """All seven tables, and the share of non-negative cosines in each."""
    run = embcheck.check(f"hidden:demo@layer=all,prompts={prompts}", properties="positive_cosine_bias", device="cpu")
    assert [m["alias"] for m in run.document["models"]] == [f"demo@layer{k}" for k in range(7)]
    expected = [naive(prompt) for prompt in PROMPTS]
    for layer, result in enumerate(run.results):
        rows = np.concatenate([states[layer] for states in expected])
        table = embcheck.load(f"hidden:demo@layer={layer},prompts={prompts}", device="cpu")
        np.testing.assert_allclose(table.vectors.double().numpy(), rows, atol=2e-5)
        assert result.estimate.value == pytest.approx(share(rows), abs=1e-9)
        assert result.estimate.is_exact
    size = (demo_folder() / "model.safetensors").stat().st_size
    assert f"whole model was run: {size / 1e6:,.0f} MB of weights" in run.notes[0]
    assert len(run.notes) == len(run.document["models"])


@pytest.mark.slow
def test_words_and_last_tokens(naive, prompts):
    """A word's state is that after its last token; a prompt's, that after its last own token."""
    first = naive(PROMPTS[1])[3]  # un ##bel ##ie ##vable tok ##ama ##ks !
    words = embcheck.load(f"hidden:demo@layer=3,states=words,prompts={prompts}", device="cpu")
    assert list(words.tokens[6:8]) == ["Unbelievable", "tokamaks"]
    tokens = AutoTokenizer.from_pretrained(demo_folder()).tokenize(PROMPTS[1])
    ends = [i for i, token in enumerate([*tokens, "!"][1:]) if not token.startswith("##")][:2]
    np.testing.assert_allclose(words.vectors[6:8].double().numpy(), first[ends], atol=2e-5)
    last = embcheck.load(f"hidden:demo@layer=3,states=last,prompts={prompts}", device="cpu")
    assert list(last.tokens) == PROMPTS
    np.testing.assert_allclose(last.vectors[1].double().numpy(), first[-1], atol=2e-5)


@pytest.mark.slow
def test_geometry_runs_on_the_prompts_that_come_with_embcheck():
    """Properties of geometry run; those of word lists don't apply, but to single words."""
    names = ("positive_cosine_bias", "isotropy", "effective_dimension", "hubness", "semantic_axes")
    run = embcheck.check("hidden:demo@layer=6", properties=names, device="cpu")
    verdicts = {result.check.declaration.id: str(result.verdict) for result in run.results}
    assert verdicts.pop("semantic_axes") == "not_applicable"
    assert "skipped" not in verdicts.values()
    assert len(verdicts) == 4


@pytest.mark.slow
def test_what_is_read_off_row_ids_does_not_apply_to_words_in_contexts():
    """The order of prompts is no frequency, and equal words are not untrained; two layers still turn words alike."""
    names = ("frequency_*", "untrained_tokens", "relative_orientation")
    run = embcheck.check(["hidden:demo@layer=0", "hidden:demo@layer=6"], properties=names, device="cpu")
    reasons = {(r.check.declaration.id, r.reason) for r in run.results if str(r.verdict) == "not_applicable"}
    of_ids = ("frequency_direction", "frequency_norm", "untrained_tokens")
    assert reasons == {(name, "its rows are words in contexts") for name in of_ids}
    assert str(run.get("relative_orientation").verdict) == "holds"


def test_single_words_resolve(save_gpt, tmp_path):
    """With words as prompts, a word of several tokens has a row: the state after its last one."""
    (tmp_path / "words.txt").write_text("cat\ncats\ndogs\n")
    folder = save_gpt()
    table = embcheck.load(f"hidden:{folder}@layer=2,states=last,prompts={tmp_path / 'words.txt'}", device="cpu")
    assert table.rows(["cats", "dogs", "horse"]) == [1, 2, None]
    context = embcheck.load(f"hidden:{folder}@layer=2,prompts={tmp_path / 'words.txt'}", device="cpu")
    assert list(context.tokens) == ["cat", "cat", "s", "d", "o", "g", "s"]
    assert context.rows(["cat"]) == [None]


def test_order_and_company_of_prompts_change_nothing(save_gpt, tmp_path):
    """Prompts are not padded, so that none sees another."""
    folder = save_gpt()
    found = {}
    for name, lines in (("a", ["cat", "dogs", "a cat"]), ("b", ["a cat", "cat s", "dogs", "cat", "hey you"])):
        (tmp_path / name).write_text("\n".join(lines))
        table = embcheck.load(f"hidden:{folder}@layer=2,states=last,prompts={tmp_path / name}", device="cpu")
        found[name] = dict(zip(table.tokens, table.vectors, strict=True))
    for prompt, vector in found["a"].items():
        torch.testing.assert_close(vector, found["b"][prompt], atol=1e-6, rtol=1e-5)


def test_the_stored_type_is_kept_and_new_weights_are_seen(save_gpt, prompts):
    """Weights of bfloat16 give states of bfloat16; a model that is written again is run again."""
    folder = save_gpt(dtype=torch.bfloat16)
    spec = f"hidden:{folder}@layer=0,prompts={prompts}"
    prompts.write_text("cat\ncats")
    weights = {k: v.to(torch.bfloat16) for k, v in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    first = embcheck.load(spec, device="cpu")
    assert first.vectors.dtype == torch.bfloat16
    save_file({k: v * 2 for k, v in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    assert not torch.equal(first.vectors, embcheck.load(spec, device="cpu").vectors)


def test_describe_and_announce_run_nothing(save_gpt, prompts, monkeypatch):
    """The size of the whole model is said before it is read."""
    folder = save_gpt()
    monkeypatch.setattr("embcheck.sources.hidden.model._states", None)
    spec = parse(f"hidden:{folder}@layer=1,prompts={prompts}")
    size = (folder / "model.safetensors").stat().st_size
    said = sources.describe(spec)
    assert (said.bytes, said.shape[1], said.dtype) == (size, 16, "float32")
    both = sources.expand(parse(f"x=hidden:{folder}@layer=all,prompts={prompts}"))
    assert [one.alias for one in both] == ["x@layer0", "x@layer1", "x@layer2"]
    (line,) = sources.announce(both)
    assert "runs the whole model: 0 MB of weights are read" in line


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hidden:demo", "say which layer: hidden:demo@layer=0, or @layer=all"),
        ("hidden:demo@layer=-1", "say which layer"),
        ("hidden:demo@layer=7", "has 6 layers, so that layer is one of 0 to 6"),
        ("hidden:demo@layer=1,states=some", "unknown states 'some'; choose one of every, words, last"),
        ("hidden:demo@layer=1,word=x", "has no option 'word'; it takes layer, states, prompts"),
        ("hidden:random:3x4@layer=1", "random:3x4 is no whole model"),
        ("hidden:hidden:demo@layer=1", "is no whole model"),
        ("hidden:demo:lm@layer=1", "demo:lm is no whole model"),
    ],
)
def test_wrong_specs_are_refused(spec, message):
    """In one line, with the way out."""
    with pytest.raises(SpecError, match=message):
        embcheck.load(spec)


@pytest.mark.parametrize("layer", ["0", "all"])
def test_missing_models_and_prompts_are_refused(layer, tmp_path):
    """Before anything is loaded."""
    for spec in (f"hidden:./nosuch@layer={layer}", f"hidden:demo@layer={layer},prompts=nosuch.txt"):
        with pytest.raises(SourceError, match="no such file or directory"):
            embcheck.check(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [("one\n", "1 different prompts; at least 2"), ("cat\n" + "cat s " * 30, "tokens but the model in .* takes 12")],
)
def test_prompts_that_do_not_fit(save_gpt, prompts, text, message):
    """Too few, or too long for the model."""
    prompts.write_text(text)
    with pytest.raises(SourceError, match=message):
        embcheck.load(f"hidden:{save_gpt()}@layer=1,prompts={prompts}", device="cpu")


def test_pickles_code_and_missing_weights_are_refused(save_gpt, prompts):
    """A model is data: none of its code is run, and nothing is filled in at random."""
    prompts.write_text("cat\ncats")
    folder = save_gpt()
    spec = f"hidden:{folder}@layer=1,prompts={prompts}"
    weights = load_file(folder / "model.safetensors")
    weights.pop("h.0.mlp.c_fc.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match="lacks 1 weights"):
        embcheck.load(spec, device="cpu")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(SourceError, match="as a pickle, which is not run"):
        embcheck.load(spec, device="cpu")
