"""What is not known is not said: tied matrices, parts of a matrix, and weights with an adapter beside them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from embcheck import measures, sources
from embcheck.errors import SourceError
from embcheck.sources import bounded
from embcheck.spec import parse


def load(spec):
    return sources.load(spec, device="cpu")


def saved(save_model, wordpiece, tensors, config=None, *, options=""):
    """A model of tensors given by their rows (of 4 numbers) or shape."""
    made = {
        name: torch.randn(shape if isinstance(shape, tuple) else (shape, 4), generator=torch.Generator().manual_seed(i))
        for i, (name, shape) in enumerate(tensors.items())
    }
    return save_model(made, wordpiece, config, options=options)


# --- tied -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["emb.weight", "head.weight"],
        ["token_embedding_table.weight", "lm_head.weight"],
        ["tok_emb.weight", "head.weight"],
        ["encoder.weight", "decoder.weight"],
        ["model.embedder.weight", "lm_head.weight"],
    ],
)
@pytest.mark.parametrize("config", [None, {"vocab_size": 14}])
def test_a_head_beside_another_table_is_not_read_as_the_input(save_model, wordpiece, names, config):
    """An output layer is not taken for the input embedding while an equally shaped matrix lies beside it."""
    with pytest.raises(SourceError, match="another matrix is as large; choose with tensor=NAME") as caught:
        load(saved(save_model, wordpiece, dict.fromkeys(names, 14), config))
    assert all(name in str(caught.value) for name in names)
    table = load(saved(save_model, wordpiece, dict.fromkeys(names, 14), config, options=f",tensor={names[0]}"))
    assert table.provenance.tensor == names[0]


def test_a_padded_table_beside_a_head_counts_as_one(save_model, wordpiece):
    """Rows added to reach a round number do not hide the other table."""
    with pytest.raises(SourceError, match="another matrix is as large"):
        load(saved(save_model, wordpiece, {"emb.weight": 15, "head.weight": 14}))


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        ({"wte.weight": 14, "lm_head.qweight": (4, 2)}, {}, r"lm_head\.qweight .* is quantized"),
        ({"wte.weight": 14, "lm_head.weight": 7}, {"vocab_size": 14}, "or one of another size"),
        ({"wte.weight": 14}, {"text_config": {"tie_word_embeddings": False}}, "no tensor looks like an output matrix"),
        ({"wte.weight": 14, "unembed.weight": 14}, {}, r"another matrix is as large; .* unembed\.weight"),
        (
            {"embeddings.word_embeddings.weight": 14},
            {"model_type": "bert", "architectures": ["BertModel"], "tie_word_embeddings": True},
            "a BertModel has no output matrix",
        ),
        ({"wte.weight": 14}, {"model_type": "mine", "architectures": ["MyModel"]}, "a MyModel has no output matrix"),
    ],
)
def test_an_output_matrix_is_tied_only_where_that_is_known(save_model, wordpiece, tensors, config, message):
    """A packed head, one of another size, a denial deep in the config or a model without a head is never "tied"."""
    with pytest.raises(SourceError, match=message):
        load(saved(save_model, wordpiece, tensors, config, options=",matrix=output"))


@pytest.mark.parametrize(
    ("config", "options"), [({"tie_word_embeddings": False}, ""), ({"text_config": {"tie_word_embeddings": False}}, "")]
)
def test_an_untied_head_alone_is_no_input(save_model, wordpiece, config, options):
    """A single tensor that is an untied output layer is not read as the input for being the only one."""
    with pytest.raises(SourceError, match="no tensor looks like an input embedding"):
        load(saved(save_model, wordpiece, {"lm_head.weight": 14}, config, options=options))


@pytest.mark.parametrize("options", ["", ",matrix=output"])
def test_a_tied_config_beside_another_head_is_a_note(save_model, wordpiece, matrix, options):
    """Where the config says tied and the file holds two matrices that differ, the table says so."""
    config = {"tie_word_embeddings": True}
    tensors = {"wte.weight": matrix(14), "lm_head.weight": matrix(14) + 1}
    notes = load(save_model(tensors, wordpiece, config, options=options)).provenance.notes
    assert "the config says that lm_head.weight is tied to wte.weight, but the two differ" in notes
    equal = {"wte.weight": matrix(14), "lm_head.weight": matrix(14)}
    assert not load(save_model(equal, wordpiece, config, options=options)).provenance.notes


@pytest.mark.parametrize(
    ("tensors", "config", "options", "value"),
    [
        (("wte.weight", "lm_head.weight"), {"tie_word_embeddings": True}, "", 1),
        (("wte.weight", "cls.predictions.decoder.weight"), {"text_config": {"tie_word_embeddings": True}}, "", 1),
        (("wte.weight",), {"tie_word_embeddings": True}, "", 0),
        (("wte.weight",), {"tie_word_embeddings": True, "architectures": ["BertModel"]}, "", None),
        (("lm_head.weight",), {"tie_word_embeddings": True}, "", 0),
        (("wte.weight", "lm_head.weight"), {"tie_word_embeddings": False}, "", None),
        (("wte.weight", "lm_head.weight"), {}, "", None),
        (("wte.weight", "lm_head.weight"), {"tie_word_embeddings": True}, ",matrix=output", None),
        (("wte.weight", "wpe.weight"), {"tie_word_embeddings": True}, ",tensor=wpe", None),
    ],
)
def test_what_the_config_ties_is_compared(save_model, wordpiece, matrix, tensors, config, options, value):
    """Another output matrix than the one that a config says is tied is counted row by row; no other is equal."""
    made = {name: matrix(14) for name in tensors}
    made[tensors[-1]][3, 2] += 1
    table = load(save_model(made, wordpiece, config, options=options))
    assert table.layers.has_tied_output is (value is not None)
    if value is not None:
        assert measures.untied_rows(table).value == value


GPT2 = {"model_type": "gpt2", "vocab_size": 14, "n_embd": 4, "n_head": 1, "n_layer": 1, "n_positions": 4}
T5 = {"model_type": "t5", "vocab_size": 14, "d_model": 4, "d_kv": 2, "num_heads": 2, "d_ff": 4, "num_layers": 1}


@pytest.mark.parametrize(
    ("tensors", "config", "value"),
    [
        (("transformer.wte.weight", "lm_head.weight"), GPT2 | {"architectures": ["GPT2LMHeadModel"]}, 1),
        (("wte.weight",), GPT2 | {"architectures": ["GPT2LMHeadModel"]}, 0),
        (("wte.weight",), GPT2 | {"architectures": ["GPT2Model"]}, None),
        (("wte.weight", "lm_head.weight"), GPT2, None),
        (("wte.weight", "lm_head.weight"), GPT2 | {"architectures": ["MyModel"]}, None),
        (("shared.weight", "lm_head.weight"), T5 | {"architectures": ["T5ForConditionalGeneration"]}, 1),
        (
            ("shared.weight", "lm_head.weight"),
            T5 | {"architectures": ["T5ForConditionalGeneration"], "tie_word_embeddings": False},
            None,
        ),
        (
            ("model.embed_tokens.weight", "lm_head.weight"),
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 14, "hidden_size": 4,
             "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1},
            None,
        ),
    ],
)  # fmt: skip
def test_a_silent_config_ties_what_its_code_ties(save_model, wordpiece, matrix, tensors, config, value):
    """Saved configs leave out what is the default of their type: GPT-2 and T5 tie unless told otherwise, Llama not."""
    made = {name: matrix(14) for name in tensors}
    made[tensors[-1]][3, 2] += 1
    table = load(save_model(made, wordpiece, config))
    assert table.layers.has_tied_output is (value is not None)
    if value is not None:
        assert measures.untied_rows(table).value == value


def test_an_immodest_config_is_asked_in_a_process_of_its_own(save_model, wordpiece, matrix, monkeypatch):
    """A config that asks for much of something is not built in this process to learn whether it ties or predicts."""
    asked = []
    monkeypatch.setattr(bounded, "call", lambda *call: asked.append(call[1]))
    config = GPT2 | {"architectures": ["GPT2LMHeadModel"], "num_labels": 10**5}
    assert not load(save_model({"wte.weight": matrix(14)}, wordpiece, config)).layers.has_tied_output
    load(save_model({"wte.weight": matrix(14)}, wordpiece, config, options=",matrix=output"))
    assert asked == ["ask_output", "ask_output"]


# --- shards -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, wordpiece, matrix):
    """Two shards, the input embedding in the first and the head in the second."""
    folder = tmp_path / "model"
    folder.mkdir()
    wordpiece.save(str(folder / "tokenizer.json"))
    files = {name: f"model-0000{i}-of-00002.safetensors" for i, name in enumerate(["wte.weight", "lm_head.weight"], 1)}
    for i, (name, file) in enumerate(files.items()):
        save_file({name: matrix(14) + i}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("target", ["", "/model-00001-of-00002.safetensors", "/model-00002-of-00002.safetensors"])
def test_each_shard_knows_its_siblings(shards, matrix, index, target):
    """The first shard, the last or the folder: what is read lies where it lies, also where the index is lost."""
    if not index:
        (shards / "model.safetensors.index.json").unlink()
    assert torch.equal(load(parse(f"{shards}{target}")).vectors, matrix(14))
    table = load(parse(f"{shards}{target},matrix=output"))
    assert torch.equal(table.vectors, matrix(14) + 1)
    assert "the output matrix is tied to the input embedding" not in table.provenance.notes


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    ("gone", "options"),
    [("model-00001-of-00002.safetensors", ""), ("model-00002-of-00002.safetensors", ",matrix=output")],
)
def test_a_lost_shard_is_named(shards, index, gone, options):
    """What lies in a shard that is not there is not taken from another."""
    if not index:
        (shards / "model.safetensors.index.json").unlink()
    (shards / gone).unlink()
    kept = next(shards.glob("model-*"))
    with pytest.raises(SourceError, match=gone):
        load(parse(f"{kept}{options}"))


def test_a_shard_is_enough_for_what_it_holds(shards, matrix):
    """The input embedding is read from its shard where the other one was not downloaded."""
    (shards / "model-00002-of-00002.safetensors").unlink()
    spec = parse(f"{shards}/model-00001-of-00002.safetensors")
    assert torch.equal(load(spec).vectors, matrix(14))
    assert sources.describe(spec).shape == (14, 4)


# --- parts of a matrix ------------------------------------------------------------------------------------------


def split(tmp_path, tokenizer, parts, settings):
    """A model that two processes saved, each its part, with settings beside them."""
    for number, part in enumerate(parts):
        torch.save({"tok_embeddings.weight": part}, tmp_path / f"consolidated.0{number}.pth")
    for name, document in settings.items():
        (tmp_path / name).write_text(json.dumps(document))
    tokenizer.save(str(tmp_path / "tokenizer.json"))


def test_model_parallel_parts_are_refused_together(tmp_path, wordpiece, matrix):
    """Of two parts of every matrix none is read, whether the folder is given or one of them."""
    split(tmp_path, wordpiece, [matrix(14), matrix(14)], {})
    for target in (tmp_path, tmp_path / "consolidated.00.pth"):
        with pytest.raises(SourceError, match="each with a part of every matrix; none of them is read"):
            load(parse(str(target)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"params.json": {"dim": 8, "vocab_size": -1}}, "is only a part of the matrix, .* says width 8"),
        ({"config.json": {"hidden_size": 8}}, "is only a part of the matrix, .* says width 8"),
        ({"config.json": {"hidden_size": 8, "max_position_embeddings": 4}}, "says width 8"),
        ({"config.json": {"hidden_size": 4, "vocab_size": 28}}, "is only a part of the matrix, .* says 28 rows"),
    ],
)
@pytest.mark.parametrize("options", ["", ",tensor=tok_embeddings"])
def test_the_one_part_that_is_left_is_refused(tmp_path, wordpiece, matrix, settings, message, options):
    """Half of a matrix, alone in its folder, is held against what the settings say of width and rows."""
    split(tmp_path, wordpiece, [matrix(14)], settings)
    with pytest.raises(SourceError, match=message):
        load(parse(f"{tmp_path}{options}"))


@pytest.mark.parametrize("config", [{"hidden_size": 8, "embedding_size": 4}, {"hidden_size": 4}, {"n_embd": 6}])
def test_tables_narrower_than_their_model_are_read(save_model, wordpiece, matrix, config):
    """A table whose width the config knows, or that is no whole fraction of the model's, is read."""
    assert load(save_model({"wte.weight": matrix(14)}, wordpiece, config)).width == 4


def test_the_same_tensor_in_two_shards_is_refused(tmp_path, wordpiece, matrix):
    """Shards that hold the same names hold slices, not tensors."""
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    for i in (1, 2):
        save_file({"wte.weight": matrix(14)}, tmp_path / f"model-0000{i}-of-00002.safetensors")
    with pytest.raises(SourceError, match=r"wte\.weight lies in model-00001.* and in model-00002.*; merge them"):
        load(parse(str(tmp_path)))


def test_the_way_out_of_several_files_reads_one(tmp_path, wordpiece, matrix):
    """What the message says to give for a folder of unrelated files can be given."""
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    for i, name in enumerate("ab"):
        save_file({"wte.weight": matrix(14) + i}, tmp_path / f"{name}.safetensors")
    with pytest.raises(SourceError, match="give the one to read, as") as caught:
        load(parse(str(tmp_path)))
    given = str(caught.value).split("give the one to read, as ")[1].split(":")[0]
    assert torch.equal(load(parse(given)).vectors, matrix(14))


# --- adapters ---------------------------------------------------------------------------------------------------


@pytest.fixture
def adapted(save_model, wordpiece, matrix, tmp_path):
    """Weights with an adapter beside them."""
    spec = save_model({"wte.weight": matrix(14)}, wordpiece)
    folder = tmp_path / "model"
    save_file({"base_model.model.wte.lora_embedding_A": matrix(2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base", "peft_type": "LORA"}')
    return spec


@pytest.mark.parametrize("target", ["", "/adapter_model.safetensors"])
@pytest.mark.parametrize("alone", [True, False])
def test_weights_with_an_adapter_are_refused(adapted, tmp_path, target, alone):
    """A library would apply the adapter, so the bare weights are not the model; the message says whose, and how."""
    if alone:
        (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"an adapter of org/base .*merge_and_unload") as caught:
        load(parse(f"{adapted.target}{target}"))
    assert ("for the weights without it" in str(caught.value)) != alone


def test_the_bare_weights_can_be_asked_for(adapted, matrix):
    """The file of weights, given by its name, is read without the adapter, and the table says so."""
    table = load(parse(f"{adapted.target}/model.safetensors"))
    assert torch.equal(table.vectors, matrix(14))
    assert "the adapter beside model.safetensors is not applied" in table.provenance.notes
