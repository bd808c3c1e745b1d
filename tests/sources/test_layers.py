"""Weights of layers: for each kind of model the module's own parameters, read alone, with rows as wide as the table."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

from embcheck import needs, sources
from embcheck.errors import EmbcheckError, NotMeasurable, SourceError, UsageError
from embcheck.sources.models.live import from_module
from embcheck.spec import parse
from embcheck.table import EmbeddingTable
from embcheck.table.layers import ROLES

D, M, LAYERS, ROWS = 12, 20, 2, 14
COMMON = {"vocab_size": ROWS, "hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
GATED = {**COMMON, "intermediate_size": M, "num_key_value_heads": 1, "pad_token_id": 0}
FOURFOLD = {"vocab_size": ROWS, "n_layer": LAYERS, "n_head": 2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}


def transposed(weight):
    return weight.T


def upper(weight):
    return weight[len(weight) // 2 :]


def lower(weight):
    return weight[: len(weight) // 2]


def last_third(weight):
    return weight[2 * len(weight) // 3 :]


def last_third_across(weight):
    return last_third(weight.T)


def by_head(weight):
    """The values of fused attention whose rows are (head, query or key or value, coordinate), of 2 heads."""
    return weight.reshape(2, 3, -1, D)[:, 2].reshape(-1, D)


def last_head(weight):
    """The values of 2 heads of queries that share one of keys and values."""
    return weight[3 * len(weight) // 4 :]


LLAMA = {
    "mlp_in": ("mlp.up_proj",), "mlp_gate": ("mlp.gate_proj",), "mlp_out": ("mlp.down_proj", transposed),
    "value": ("self_attn.v_proj",), "attention_out": ("self_attn.o_proj", transposed),
}  # fmt: skip
BERT = {
    "mlp_in": ("intermediate.dense",), "mlp_out": ("output.dense", transposed),
    "value": ("attention.self.value",), "attention_out": ("attention.output.dense", transposed),
}  # fmt: skip
GPT2 = {
    "mlp_in": ("mlp.c_fc", transposed), "mlp_out": ("mlp.c_proj",),
    "value": ("attn.c_attn", last_third_across), "attention_out": ("attn.c_proj",),
}  # fmt: skip
FC = {"mlp_in": ("fc1",), "mlp_out": ("fc2", transposed),
      "value": ("self_attn.v_proj",), "attention_out": ("self_attn.out_proj", transposed)}  # fmt: skip


def fused(holder, values):
    return {
        "mlp_in": ("mlp.dense_h_to_4h",), "mlp_out": ("mlp.dense_4h_to_h", transposed),
        "value": (f"{holder}.query_key_value", values), "attention_out": (f"{holder}.dense", transposed),
    }  # fmt: skip


KINDS = {
    "llama": ("LlamaModel", "LlamaConfig", GATED, "layers", LLAMA),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", GATED, "model.layers", LLAMA),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**GATED, "head_dim": 8}, "model.layers", LLAMA),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**GATED, "head_dim": 6}, "model.layers", LLAMA),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", GATED, "model.layers", LLAMA),
    "mistral": ("MistralForCausalLM", "MistralConfig", GATED, "model.layers", LLAMA),
    "bert": ("BertForMaskedLM", "BertConfig", {**COMMON, "intermediate_size": M}, "bert.encoder.layer", BERT),
    "bert, square": ("BertModel", "BertConfig", {**COMMON, "intermediate_size": D}, "encoder.layer", BERT),
    "roberta": ("RobertaModel", "RobertaConfig", {**COMMON, "intermediate_size": M}, "encoder.layer", BERT),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {**FOURFOLD, "n_embd": D}, "transformer.h", GPT2),
    "gpt2, square": ("GPT2Model", "GPT2Config", {**FOURFOLD, "n_embd": D, "n_inner": D}, "h", GPT2),
    "gpt_neo": (
        "GPTNeoModel", "GPTNeoConfig",
        {**SPECIAL, "vocab_size": ROWS, "hidden_size": D, "num_layers": 2, "num_heads": 2,
         "attention_types": [[["global", "local"], 1]]},
        "h",
        {"mlp_in": ("mlp.c_fc",), "mlp_out": ("mlp.c_proj", transposed), "value": ("attn.attention.v_proj",),
         "attention_out": ("attn.attention.out_proj", transposed)},
    ),
    "gpt_bigcode": (
        "GPTBigCodeModel", "GPTBigCodeConfig", {**FOURFOLD, **SPECIAL, "n_embd": D}, "h",
        {"mlp_in": ("mlp.c_fc",), "mlp_out": ("mlp.c_proj", transposed), "value": ("attn.c_attn", last_head),
         "attention_out": ("attn.c_proj", transposed)},
    ),
    "gpt_bigcode, by head": (
        "GPTBigCodeModel", "GPTBigCodeConfig", {**FOURFOLD, **SPECIAL, "n_embd": D, "multi_query": False}, "h",
        {"value": ("attn.c_attn", by_head)},
    ),
    "gpt_neox": (
        "GPTNeoXForCausalLM", "GPTNeoXConfig", {**COMMON, "intermediate_size": M}, "gpt_neox.layers",
        fused("attention", by_head),
    ),
    "gptj": (
        "GPTJModel", "GPTJConfig", {**FOURFOLD, "n_embd": D, "rotary_dim": 2}, "h",
        {"mlp_in": ("mlp.fc_in",), "mlp_out": ("mlp.fc_out", transposed), "value": ("attn.v_proj",),
         "attention_out": ("attn.out_proj", transposed)},
    ),
    "phi": (
        "PhiModel", "PhiConfig", {**COMMON, "num_attention_heads": 3, "intermediate_size": M, "pad_token_id": 0},
        "layers",
        {"mlp_in": ("mlp.fc1",), "mlp_out": ("mlp.fc2", transposed), "value": ("self_attn.v_proj",),
         "attention_out": ("self_attn.dense", transposed)},
    ),
    "phi3": (
        "Phi3Model", "Phi3Config", GATED, "layers",
        {**LLAMA, "mlp_in": ("mlp.gate_up_proj", upper), "mlp_gate": ("mlp.gate_up_proj", lower),
         "value": ("self_attn.qkv_proj", last_head)},
    ),
    "falcon": ("FalconModel", "FalconConfig", COMMON, "h", fused("self_attention", last_head)),
    "falcon, grouped": (
        "FalconModel", "FalconConfig",
        {**COMMON, "num_attention_heads": 6, "num_kv_heads": 3, "new_decoder_architecture": True},
        "h",
        fused("self_attention", lambda w: w.reshape(3, 4, -1, D)[:, 3].reshape(-1, D)),
    ),
    "bloom": ("BloomModel", "BloomConfig", {**FOURFOLD, "hidden_size": D}, "h", fused("self_attention", by_head)),
    "opt": (
        "OPTModel", "OPTConfig", {**COMMON, "ffn_dim": M, "word_embed_proj_dim": D}, "decoder.layers", FC,
    ),
    "bart": (
        "BartModel", "BartConfig",
        {"vocab_size": ROWS, "d_model": D, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "encoder_ffn_dim": M, "decoder_ffn_dim": M, **SPECIAL, "forced_eos_token_id": 0},
        "encoder.layers", FC,
    ),
    "t5": (
        "T5Model", "T5Config",
        {"vocab_size": ROWS, "d_model": D, "d_kv": 6, "d_ff": M, "num_layers": 2, "num_heads": 2},
        "encoder.block",
        {"mlp_in": ("layer.1.DenseReluDense.wi",), "mlp_out": ("layer.1.DenseReluDense.wo", transposed),
         "value": ("layer.0.SelfAttention.v",), "attention_out": ("layer.0.SelfAttention.o", transposed)},
    ),
    "mpt": (
        "MptModel", "MptConfig", {"vocab_size": ROWS, "d_model": D, "n_layers": 2, "n_heads": 2}, "blocks",
        {"mlp_in": ("ffn.up_proj",), "mlp_out": ("ffn.down_proj", transposed), "value": ("attn.Wqkv", last_third),
         "attention_out": ("attn.out_proj", transposed)},
    ),
    "distilbert": (
        "DistilBertModel", "DistilBertConfig",
        {"vocab_size": ROWS, "dim": D, "hidden_dim": M, "n_layers": 2, "n_heads": 2}, "transformer.layer",
        {"mlp_in": ("ffn.lin1",), "mlp_out": ("ffn.lin2", transposed), "value": ("attention.v_lin",),
         "attention_out": ("attention.out_lin", transposed)},
    ),
    "modernbert": (
        "ModernBertModel", "ModernBertConfig", {**COMMON, "intermediate_size": M, **SPECIAL,
        "cls_token_id": 0, "sep_token_id": 0}, "layers",
        {"mlp_in": ("mlp.Wi", upper), "mlp_gate": ("mlp.Wi", lower), "mlp_out": ("mlp.Wo", transposed),
         "value": ("attn.Wqkv", last_third), "attention_out": ("attn.Wo", transposed)},
    ),
}  # fmt: skip


def build(kind):
    """A tiny model of random weights, where its layers are, and what each role is in a layer."""
    model, config, given, stack, roles = KINDS[kind]
    torch.manual_seed(0)
    made = getattr(transformers, model)(getattr(transformers, config)(**given)).eval()
    return made, stack, roles


def expected(model, stack, roles, role, layer):
    name, *turn = roles[role]
    weight = model.get_submodule(f"{stack}.{layer}.{name}").weight.detach()
    return turn[0](weight) if turn else weight


def same(found, wanted):
    """Whether two tensors are the same bytes."""
    return found.dtype == wanted.dtype and torch.equal(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_modules_parameters(kind, wordpiece, tmp_path):
    """Saved or in memory, each role of each layer is the module's own parameter, its rows of width d."""
    model, stack, roles = build(kind)
    model.save_pretrained(tmp_path)
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    saved, live = sources.load(parse(str(tmp_path)), device="cpu"), from_module(model, wordpiece)
    for table in (saved, live):
        for layer in range(LAYERS):
            for role in roles:
                found = table.tensor(role, layer)
                assert found.shape[1] == D
                assert same(found, expected(model, stack, roles, role, layer)), (role, layer)
        assert same(table.tensor("value", -1), expected(model, stack, roles, "value", LAYERS - 1))
        with pytest.raises(NotMeasurable, match=f"has no layer {LAYERS}: it has {LAYERS}"):
            table.tensor("value", LAYERS)
        if "mlp_gate" not in roles and "mlp_in" in roles:
            with pytest.raises(NotMeasurable, match=r"no weights for mlp_gate; looked for mlp\.gate_proj\.weight"):
                table.tensor("mlp_gate", 0)


def during(model, module, run):
    """What went into a module and came out of it while the model ran."""
    seen = []
    hook = module.register_forward_hook(lambda _, given, made: seen.append((given[0].detach(), made.detach())))
    with torch.no_grad():
        run()
    hook.remove()
    return tuple(one.reshape(-1, one.shape[-1]) for one in seen[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "attention_out" in KINDS[kind][4]])
def test_attention_to_one_token_is_value_then_output(kind, wordpiece):
    """On a single token attention is what value and attention_out make of it, heads shared by several repeated."""
    model, stack, roles = build(kind)
    table = from_module(model, wordpiece)
    reader = model.get_encoder() if kind in {"t5", "bart"} else model
    value, output = (model.get_submodule(f"{stack}.0.{roles[role][0]}") for role in ("value", "attention_out"))
    attended = during(model, value, lambda: reader(input_ids=torch.tensor([[3]])))[0]
    made = during(model, output, lambda: reader(input_ids=torch.tensor([[3]])))[1]
    values, out = attended @ table.tensor("value", 0).T, table.tensor("attention_out", 0)
    repeats = len(out) // values.shape[1]
    heads = values.reshape(len(values), table.layers.kv_heads if repeats > 1 else 1, -1)
    torch.testing.assert_close(heads.repeat_interleave(repeats, 1).flatten(1) @ out, made, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("kind", "act"), [("phi3", "activation_fn"), ("modernbert", "act"), ("llama", "act_fn")])
def test_the_gate_is_the_half_that_is_activated(kind, act, wordpiece):
    """What the MLP writes from is the activated gate times what mlp_in reads, whichever half of a tensor either is."""
    model, stack, roles = build(kind)
    table, mlp = from_module(model, wordpiece), model.get_submodule(f"{stack}.0.mlp")
    run = lambda: model(input_ids=torch.tensor([[3]]))  # noqa: E731 - run twice
    read = during(model, model.get_submodule(f"{stack}.0.{roles['mlp_in'][0]}"), run)[0]
    written = during(model, model.get_submodule(f"{stack}.0.{roles['mlp_out'][0]}"), run)[0]
    gated = getattr(mlp, act)(read @ table.tensor("mlp_gate", 0).T) * (read @ table.tensor("mlp_in", 0).T)
    torch.testing.assert_close(gated, written, atol=1e-6, rtol=1e-4)


# --- files ------------------------------------------------------------------------------------------------------

NAMES = {
    "mlp_in": "m.layers.{0}.mlp.up_proj.weight", "mlp_out": "m.layers.{0}.mlp.down_proj.weight",
    "value": "m.layers.{0}.self_attn.v_proj.weight", "attention_out": "m.layers.{0}.self_attn.o_proj.weight",
}  # fmt: skip
SHAPES = {"mlp_in": (M, D), "mlp_out": (D, M), "value": (6, D), "attention_out": (D, D)}
EMBEDDING = "m.embed_tokens.weight"


def tensors(layers=LAYERS):
    """An embedding and the tensors of layers, each of other numbers."""
    generator = torch.Generator().manual_seed(1)
    found = {EMBEDDING: torch.randn(ROWS, D, generator=generator)}
    for layer in range(layers):
        for role, name in NAMES.items():
            found[name.format(layer)] = torch.randn(SHAPES[role], generator=generator)
    return found


def turned(stored, role):
    return stored if role in {"mlp_in", "value"} else stored.T


@pytest.fixture
def save(tmp_path, wordpiece):
    """Write tensors as one kind of files and return the table."""

    def write(stored, form="safetensors", config=None):
        wordpiece.save(str(tmp_path / "tokenizer.json"))
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        if form == "safetensors":
            save_file(stored, tmp_path / "model.safetensors")
        elif form == "shards":
            index = {name: f"model-{i % 3}.safetensors" for i, name in enumerate(stored)}
            for file in set(index.values()):
                save_file({name: one for name, one in stored.items() if index[name] == file}, tmp_path / file)
            (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        else:
            zipped = form == "zip"
            torch.save(stored, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        return sources.load(parse(str(tmp_path)), device="cpu")

    return write


@pytest.mark.parametrize("form", ["safetensors", "shards", "zip", "legacy"])
def test_only_what_is_asked_for_is_read(save, form):
    """Whatever the files, a tensor is read when it is asked for, alone, once, and its bytes are counted."""
    stored = tensors()
    table = save(stored, form)
    assert table.bytes_read == stored[EMBEDDING].nbytes
    for _ in range(2):
        for role in ("mlp_in", "mlp_out"):
            assert torch.equal(table.tensor(role, 1), turned(stored[NAMES[role].format(1)], role))
    asked = sum(stored[NAMES[role].format(1)].nbytes for role in ("mlp_in", "mlp_out"))
    assert table.bytes_read == stored[EMBEDDING].nbytes + asked


def test_only_the_bytes_of_that_tensor_are_touched(save, monkeypatch):
    """Of a file on disk the bytes that are looked at are the header's and the tensor's."""
    from embcheck.sources.files import LocalBytes

    table, touched, read = save(tensors(50)), [], LocalBytes.read

    def watched(self, start, length):
        touched.append(length)
        return read(self, start, length)

    monkeypatch.setattr(LocalBytes, "read", watched)
    assert table.tensor("mlp_in", 49).shape == (M, D)
    assert sum(touched) == M * D * 4


def test_a_tensor_keeps_its_dtype_and_moves_with_the_table(save):
    """Numbers are as stored whatever the table was converted to; nulls and subsets of a table keep its layers."""
    stored = {name: one.bfloat16() for name, one in tensors().items()}
    table = save(stored)
    found = table.with_vectors(table.vectors.float()).subset(table.population[:3]).tensor("mlp_in", 0)
    assert same(found, stored[NAMES["mlp_in"].format(0)])


def test_the_output_matrix_is_read_by_its_name(save):
    """It is the one matrix of the table's width that is named as such, read when asked for; of several it is none."""
    head = torch.arange(ROWS * D, dtype=torch.float32).reshape(ROWS, D)
    table = save({**tensors(), "lm_head.weight": head, "lm_head.bias": torch.ones(ROWS)})
    before = table.bytes_read
    assert same(table.tensor("output"), head)
    assert table.bytes_read == before + head.nbytes
    assert same(table.subset(table.population[[2, 0]]).tensor("output"), head[table.population[[2, 0]]])
    with pytest.raises(NotMeasurable, match=r"no one output matrix of its own of width 12; there is none"):
        save(tensors()).tensor("output")
    with pytest.raises(NotMeasurable, match=r"of its own of width 12; there is embed_out.weight, lm_head.weight"):
        save({**tensors(), "lm_head.weight": head, "embed_out.weight": head.clone()}).tensor("output")
    with pytest.raises(NotMeasurable, match=r"of its own of width 12; there is lm_head.weight"):
        save({**tensors(), "lm_head.weight": head[:, :5].clone()}).tensor("output")


def gguf_table(tmp_path, stored, values=(), arch="llama"):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", arch)
    writer.add_tokenizer_model("none")
    writer.add_token_list([f"t{i}" for i in range(ROWS)])
    for key, number in dict(values).items():
        writer.add_uint32(f"{arch}.{key}", number)
    for name, (one, kind) in stored.items():
        packed = gguf.quants.quantize(one.numpy(), kind) if kind != gguf.GGMLQuantizationType.F32 else one.numpy()
        writer.add_tensor(name, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sources.load(parse(f"gguf:{tmp_path / 'm.gguf'}"), device="cpu")


def test_layers_of_gguf_files(tmp_path):
    """Names of llama.cpp: quantized tensors are dequantized, two stacked ones told apart by the header, fused cut."""
    from gguf import GGMLQuantizationType as Kind
    from gguf import quants

    r = torch.Generator().manual_seed(3)
    width, make = 64, lambda *shape: torch.randn(shape, generator=r)
    up, down, qkv, out = make(80, width), make(width, 160), make(128, width), make(width, width)
    head = make(ROWS, width)
    stored = {
        "token_embd.weight": (make(ROWS, width), Kind.F32), "blk.0.ffn_up.weight": (up, Kind.F32),
        "blk.0.ffn_down.weight": (down, Kind.Q8_0), "blk.0.attn_qkv.weight": (qkv, Kind.F32),
        "blk.0.attn_output.weight": (out, Kind.F32), "output.weight": (head, Kind.F32),
    }  # fmt: skip
    heads = {"attention.head_count": 4, "attention.head_count_kv": 2}
    table = gguf_table(tmp_path, stored, {**heads, "feed_forward_length": 40})
    before = table.bytes_read
    assert torch.equal(table.tensor("mlp_in", 0), up[40:])
    assert torch.equal(table.tensor("mlp_gate", 0), up[:40])
    assert table.bytes_read == before + up.nbytes
    packed = quants.dequantize(quants.quantize(down.numpy(), Kind.Q8_0), Kind.Q8_0)
    assert torch.equal(table.tensor("mlp_out", 0), torch.from_numpy(packed).T)
    assert torch.equal(table.tensor("value", 0), qkv[96:])
    assert torch.equal(table.tensor("attention_out", 0), out.T)
    assert torch.equal(table.tensor("output"), head)
    plain = gguf_table(tmp_path, stored, {**heads, "feed_forward_length": 80})
    assert torch.equal(plain.tensor("mlp_in", 0), up)
    with pytest.raises(NotMeasurable, match="is one matrix, so the MLP has no gate"):
        plain.tensor("mlp_gate", 0)


def test_gguf_types_without_a_way_back_are_skipped(tmp_path, monkeypatch):
    """A tensor that can't be dequantized is named; one that lies outside its file is damage, not absence."""
    from gguf import GGMLQuantizationType as Kind

    stored = {
        "token_embd.weight": (torch.ones(ROWS, 32), Kind.F32),
        "blk.0.ffn_up.weight": (torch.ones(8, 32), Kind.F32),
    }
    table = gguf_table(tmp_path, stored)
    one = table.layers._tensors.tensors["blk.0.ffn_up.weight"]
    from embcheck.sources.gguf.tensors import TYPES

    for change, error, message in (
        ({"kind": TYPES[9]}, NotMeasurable, r"can't dequantize blk\.0\.ffn_up\.weight \[8, 32\] Q8_1"),
        ({"start": 10**9}, SourceError, "is truncated"),
    ):
        import dataclasses

        table.layers._tensors.tensors["blk.0.ffn_up.weight"] = dataclasses.replace(one, **change)
        with pytest.raises(error, match=message):
            table.tensor("mlp_in", 0)


# --- what is chosen, and what is refused -----------------------------------------------------------------------------


def test_of_several_stacks_the_tables_own_is_read(save):
    """Layers of images are none; of an encoder and a decoder that share a table it is the encoder, or the named one."""
    stored = tensors(1)
    up = NAMES["mlp_in"].format(0)
    others = {f"vision_tower.{up}": torch.zeros(M, D), f"decoder.{up}": torch.zeros(M, D)}
    assert torch.equal(save({**stored, **others}).tensor("mlp_in", 0), stored[up])
    both = {"shared.weight": stored[EMBEDDING], f"decoder.{up}": torch.zeros(M, D), f"encoder.{up}": stored[up]}
    table = save(both)
    assert torch.equal(table.tensor("mlp_in", 0), stored[up])
    output = sources.load(parse(f"{table.provenance.spec},matrix=output"), device="cpu")
    assert torch.equal(output.tensor("mlp_in", 0), both[f"decoder.{up}"])
    with pytest.raises(NotMeasurable, match=r"several stacks of layers could be meant: a\.m\.layers, b\.m\.layers"):
        save({"shared.weight": stored[EMBEDDING], f"a.{up}": stored[up], f"b.{up}": 2 * stored[up]}).tensor("mlp_in", 0)


@pytest.mark.parametrize(
    ("changes", "config", "role", "message"),
    [
        ({}, None, "mlp_gate", r"m\.layers\.0 has no weights for mlp_gate; looked for mlp\.gate_proj\.weight, "),
        ({"m.layers.0.mlp.up_proj.weight": torch.ones(8, D).int()}, {"quantization_config": {"quant_method": "x"}},
         "mlp_in", r"up_proj\.weight \[8, 12\] I32 is quantized with x or no float"),
        ({"m.layers.0.mlp.up_proj.weight": None, "m.layers.0.mlp.up_proj.qweight": torch.ones(8, 3).int(),
          "m.layers.0.mlp.up_proj.scales": torch.ones(8)}, None,
         "mlp_in", r"up_proj\.qweight \[8, 3\] I32 is quantized or no float"),
        ({"m.layers.0.mlp.up_proj.weight": torch.ones(8, 9)}, None,
         "mlp_in", r"up_proj\.weight \[8, 9\] is no matrix with a side of the table's width, 12"),
        ({"m.layers.0.mlp.up_proj.weight": torch.ones(8, 9, D)}, None, "mlp_in", r"\[8, 9, 12\] is no matrix"),
        ({"m.layers.0.mlp.up_proj.weight": None, "m.layers.0.mlp.c_fc.weight": torch.ones(D, D)}, None,
         "mlp_in", r"c_fc\.weight \[12, 12\] is square, and neither its name nor its layer tells which way it lies"),
        ({"m.layers.0.self_attn.v_proj.weight": None, "m.layers.0.attention.query_key_value.weight": torch.ones(24, D)},
         None, "value", r"config\.json does not tell which of its 24 rows are meant"),
        ({"m.layers.0.self_attn.v_proj.weight": None, "m.layers.0.self_attn.qkv_proj.weight": torch.ones(25, D)},
         {"num_attention_heads": 2}, "value", "which of its 25 rows are meant"),
        ({name.format(i): None for name in NAMES.values() for i in range(LAYERS)}, None, "value",
         r"there are no layers whose names are known; looked for N\.mlp\.up_proj\.weight"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(save, changes, config, role, message):
    """Absent, quantized, other widths and what can't be told make a check that is skipped, with the tensor named."""
    stored = {name: one for name, one in {**tensors(), **changes}.items() if one is not None}
    with pytest.raises(NotMeasurable, match=message) as error:
        save(stored, config=config).tensor(role, 0)
    assert "\n" not in str(error.value)


def test_weights_that_lie_the_other_way_are_turned_by_their_shape(save):
    """A tensor of which only one side has the table's width lies so that this side is its columns."""
    stored = tensors()
    name = NAMES["mlp_in"].format(0)
    turned_over = {**stored, name: stored[name].T.contiguous()}
    assert torch.equal(save(turned_over).tensor("mlp_in", 0), stored[name])


@pytest.mark.parametrize(
    ("role", "layer", "error", "message"),
    [
        ("mlp", 0, UsageError, "unknown role 'mlp'.* choose one of mlp_in, mlp_gate, mlp_out, value, attention_out"),
        ("mlp_in", "0", UsageError, "layer must be a whole number, got '0'"),
        ("mlp_in", True, UsageError, "got True"),
        ("mlp_in", 2, NotMeasurable, r"has no layer 2: it has 2, m\.layers\.0 to m\.layers\.1; give 0 to 1"),
        ("mlp_in", -3, NotMeasurable, "has no layer -3"),
    ],
)
def test_what_is_asked_for_wrongly_is_said(save, role, layer, error, message):
    """Unknown roles and layers that are no numbers are usage errors; layers past the end are not there."""
    with pytest.raises(error, match=message):
        save(tensors()).tensor(role, layer)


def test_numbers_of_layers_are_read_as_such(save):
    """Names of a hostile file with numbers beyond reason, or digits of other scripts, are no layers."""
    up = "mlp.up_proj.weight"
    strange = {f"m.layers.{number}.{up}": torch.ones(M, D) for number in ("9" * 5000, "²", "1e3", "-1", "")}
    with pytest.raises(NotMeasurable, match=f"has no layer 5: it has {LAYERS}"):
        save({**tensors(), **strange}).tensor("mlp_in", 5)


def test_a_damaged_shard_is_an_error(save, tmp_path):
    """A shard cut short since the table was read is damage: an error, not a check that is skipped."""
    table = save(tensors(), "shards")
    for file in tmp_path.glob("model-*.safetensors"):
        if EMBEDDING not in file.read_bytes().decode("latin-1"):
            file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(SourceError, match="truncated"):
        [table.tensor(role, 0) for role in NAMES]


def test_tables_without_a_model_have_no_layers():
    """Noise and matrices belong to no model; an embedding alone has no layers."""
    bare = EmbeddingTable.from_arrays(torch.ones(3, 2), ["a", "b", "c"])
    for role in ROLES:
        with pytest.raises(NotMeasurable, match=f"{role} of layer 0: a table of source 'memory' has no layers"):
            bare.tensor(role, 0)
    alone = from_module(nn.Embedding(3, 2), ["a", "b", "c"])
    assert needs.layers()(alone, {}) == needs.layers()(bare, {}) == "no layers"
    with pytest.raises(NotMeasurable, match="Embedding: there are no layers whose names are known"):
        alone.tensor("mlp_in", 0)
    unknown = nn.ModuleDict({"table": nn.Embedding(3, 2), "parts": nn.ModuleList([nn.Linear(2, 2)])})
    assert needs.layers()(from_module(unknown, ["a", "b", "c"]), {}) is None


def test_weights_can_be_given():
    """Weights in memory stand in for those of a model, which are asked for what was not given."""
    bare = EmbeddingTable.from_arrays(torch.ones(3, 2), ["a", "b", "c"])
    first = bare.with_tensors({("mlp_in", 0): torch.ones(4, 2)})
    both = first.with_tensors({("mlp_out", 0): torch.zeros(4, 2)})
    assert torch.equal(both.tensor("mlp_in", 0), torch.ones(4, 2))
    assert torch.equal(both.tensor("mlp_out", 0), torch.zeros(4, 2))
    assert (both.bytes_read, both.layers.kv_heads) == (0, None)
    with pytest.raises(NotMeasurable, match=r"value of layer 0 is not among the weights .* \(mlp_in of layer 0\)"):
        both.tensor("value", 0)
    with pytest.raises(NotMeasurable, match=r"has shape \(4, 3\), not \(rows, 2\)"):
        bare.with_tensors({("value", 0): torch.ones(4, 3)}).tensor("value", 0)
    with pytest.raises(EmbcheckError, match="unknown role"):
        bare.with_tensors({("head", 0): torch.ones(4, 2)})


@pytest.mark.parametrize(("dtype", "device", "message"), [(torch.int8, "cpu", "is quantized"), (None, "meta", "meta")])
def test_live_weights_that_are_no_floats_are_skipped(wordpiece, dtype, device, message):
    """A live model's quantized weights, or ones that are not in memory, are named."""
    model, stack, _ = build("llama")
    up = model.get_submodule(f"{stack}.0.mlp.up_proj")
    up.weight = nn.Parameter(up.weight.detach().to(device, dtype), requires_grad=False)
    with pytest.raises(NotMeasurable, match=message):
        from_module(model, wordpiece).tensor("mlp_in", 0)


def test_live_weights_change_as_they_are_trained(wordpiece):
    """A live model's weights are not copied: a step of training shows."""
    model, stack, _ = build("llama")
    table = from_module(model, wordpiece)
    before = table.tensor("mlp_in", 0).clone()
    with torch.no_grad():
        model.get_submodule(f"{stack}.0.mlp.up_proj").weight.add_(1)
    assert torch.equal(table.tensor("mlp_in", 0), before + 1)
    assert not table.tensor("mlp_in", 0).requires_grad
