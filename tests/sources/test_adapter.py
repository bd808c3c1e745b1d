"""Adapters that PEFT saved: base and adapter are one table, as the library merges them, or refused by name."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM

from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.spec import parse

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers about each other
ROWS, WIDTH = 40, 16
CONFIG = {
    "vocab_size": ROWS, "hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2,
}  # fmt: skip
KINDS = {
    "own table": (LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"]), "own embedding"),
    "rows": (LoraConfig(target_modules=["q_proj"], trainable_token_indices=[7, 2]), "rows of the adapter's own: 2"),
    "rows by module": (
        LoraConfig(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3]}),
        "rows of the adapter's own: 1",
    ),
    "rows alone": (TrainableTokensConfig(token_indices=[1, 5], target_modules=["embed_tokens"]), "own: 2"),
    "product": (LoraConfig(r=4, lora_alpha=6, target_modules=["embed_tokens", "q_proj"]), "B·A of rank 4 times 1.5"),
    "root": (LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["embed_tokens"]), "rank 4 times 3 added"),
    "rank of its own": (
        LoraConfig(r=4, lora_alpha=6, rank_pattern={"embed_tokens": 2}, target_modules=["embed_tokens", "q_proj"]),
        "rank 2 times 3 added",
    ),
    "elsewhere": (LoraConfig(target_modules=["q_proj"]), "leaves the embedding as it is"),
}


def load(text):
    return sources.load(parse(text), device="cpu")


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def base(tmp_path, request):
    """A model with its tokenizer."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**CONFIG)).to(request.param).save_pretrained(tmp_path / "base")
    words = {f"w{row}": row for row in range(ROWS)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(tmp_path / "base" / "tokenizer.json"))
    return tmp_path / "base"


def train(base, config, *, rows=ROWS, save=True):
    """An adapter whose every number is its own, saved beside the base."""
    model = LlamaForCausalLM.from_pretrained(base)
    if rows != ROWS:
        model.resize_token_embeddings(rows, mean_resizing=False)
    model = get_peft_model(model, config)
    with torch.no_grad():
        for name, own in model.named_parameters():
            if "lora_" in name or "trainable_tokens_delta" in name or "modules_to_save" in name:
                own.add_(torch.randn_like(own))
    model.save_pretrained(base.parent / "adapter", save_embedding_layers="auto" if save else False)
    return base.parent / "adapter"


def merged(base, adapter, rows=ROWS):
    """The embedding that the library makes of the two."""
    model = LlamaForCausalLM.from_pretrained(base)
    if rows != ROWS:
        model.resize_token_embeddings(rows, mean_resizing=False)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().get_input_embeddings().weight.detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("save", [True, False])
def test_base_and_adapter_are_one_table(base, kind, save):
    """What is read is the embedding of the merged model, bit for bit, and the table says how it was made."""
    config, how = KINDS[kind]
    adapter = train(base, config, save=save)
    table = load(str(adapter))
    assert torch.equal(table.vectors, merged(base, adapter))
    assert how in table.provenance.notes[0]
    assert str(base) in table.provenance.notes[0]
    assert list(table.tokens[:2]) == ["w0", "w1"]
    told = sources.describe(parse(str(adapter)))
    assert (told.shape, told.dtype) == ((ROWS, WIDTH), table.provenance.dtype)
    assert told.bytes == table.provenance.bytes_read


def test_an_adapter_that_grew_the_vocabulary(base):
    """Rows that were added before training are in the adapter, and so are those of the table."""
    adapter = train(base, LoraConfig(target_modules=["embed_tokens"]), rows=ROWS + 3)
    model = merged(base, adapter, ROWS + 3)
    assert torch.equal(load(str(adapter)).vectors, model)


def test_the_base_is_what_the_user_gives(base, tmp_path):
    """``base=`` counts before what the adapter names; the adapter's own tokenizer counts before the base's."""
    adapter = train(base, KINDS["rows"][0])
    expected = merged(base, adapter)
    moved = base.rename(tmp_path / "moved")
    with pytest.raises(SourceError, match=r"an adapter of .*base .*give its base too, as ,base=DIR or ,base=org/name"):
        load(str(adapter))
    (adapter / "tokenizer.json").write_text((moved / "tokenizer.json").read_text().replace('"w1"', '"other"'))
    table = load(f"{adapter},base={moved}")
    assert torch.equal(table.vectors, expected)
    assert table.tokens[1] == "other"
    assert load(f"{adapter},base={moved},tokenizer={moved}").tokens[1] == "w1"


def rewrite(adapter, settings=None, **tensors):
    """Change an adapter's settings and tensors; ``None`` takes one away."""
    path, own = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    own.write_text(json.dumps(json.loads(own.read_text()) | (settings or {})))
    stored = load_file(path)
    for part, tensor in tensors.items():
        name = next(name for name in stored if name.endswith(part))
        stored[name] = tensor
    save_file({name: tensor for name, tensor in stored.items() if tensor is not None}, path)


@pytest.mark.parametrize(
    ("kind", "settings", "tensors", "message"),
    [
        ("product", {"alpha_pattern": {"embed_tokens": 3}}, {}, "alpha differs from module to module"),
        ("product", {"lora_alpha": "6"}, {}, "lora_alpha is no number"),
        ("product", {"lora_alpha": float("nan")}, {}, "lora_alpha is no number"),
        ("product", {}, {"lora_embedding_A": torch.ones(4, ROWS + 1)}, "make no"),
        ("product", {}, {"lora_embedding_B": torch.ones(WIDTH, 3)}, "make no"),
        ("product", {}, {"lora_embedding_A": None}, r"keeps base_layer\.weight, lora_embedding_B of the embedding"),
        ("product", {}, {"lora_embedding_A": torch.ones(4, ROWS, dtype=torch.int8)}, "is no matrix of floats"),
        ("rows", {"trainable_token_indices": [7]}, {}, "does not fit the tokens"),
        ("rows", {"trainable_token_indices": [7, ROWS]}, {}, "does not fit the tokens"),
        ("rows", {"trainable_token_indices": [7, 7]}, {}, "does not fit the tokens"),
        ("rows", {"trainable_token_indices": [7, -1]}, {}, "does not fit the tokens"),
        ("rows", {"trainable_token_indices": {"other": [7, 2]}}, {}, "does not fit the tokens"),
        ("own table", {"base_model_name_or_path": "//host/share"}, {}, "give its base too"),
        ("own table", {"base_model_name_or_path": ["x"]}, {}, "give its base too"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(base, kind, settings, tensors, message):
    """What can't be added says why and what to give, and no table is read."""
    adapter = train(base, KINDS[kind][0])
    rewrite(adapter, settings, **tensors)
    with pytest.raises(SourceError, match=message) as caught:
        load(str(adapter))
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_kind_is_refused(base):
    """DoRA keeps lengths of rows beside the product: that it is not read is said by the name of what it keeps."""
    adapter = train(base, LoraConfig(target_modules=["embed_tokens"], use_dora=True))
    with pytest.raises(SourceError, match=r"keeps .*lora_magnitude_vector of the embedding.*merge_and_unload"):
        load(str(adapter))


@pytest.mark.parametrize("option", ["matrix=output", "tensor=lm_head", "base=random:40x16"])
def test_what_an_adapter_does_not_take_is_refused(base, option):
    """Of an adapter the input embedding is read, on a model that is none itself."""
    with pytest.raises(SpecError, match=r"merge it for other tensors|is no model of"):
        load(f"{train(base, KINDS['rows'][0])},{option}")


def test_an_adapter_that_is_its_own_base_ends(base):
    """A base that is an adapter again, be it the same one, is refused and not followed."""
    adapter = train(base, KINDS["rows"][0])
    with pytest.raises(SourceError, match="holds an adapter"):
        load(f"{adapter},base={adapter}")


def test_an_adapter_without_weights_is_refused(base):
    """Settings alone are no adapter."""
    adapter = train(base, KINDS["rows"][0])
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(SourceError, match=r"lacks the adapter's weights \(adapter_model\.safetensors\)"):
        load(str(adapter))


def test_weights_of_an_adapter_that_torch_saved(base):
    """An adapter_model.bin is read as well."""
    adapter = train(base, KINDS["product"][0])
    expected = merged(base, adapter)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert torch.equal(load(f"{adapter}/adapter_model.bin").vectors, expected)
    shutil.rmtree(adapter)
