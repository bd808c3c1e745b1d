"""Tables of models in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from embcheck.errors import UsageError
from embcheck.sources.models.live import from_module
from embcheck.table.table import weights_sha256


class Model(nn.Module):
    """A module with embeddings of several sizes and, if told so, a getter for one."""

    def __init__(self, *sizes, getter=None):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 3) for size in sizes)
        if getter is not None:
            self.get_input_embeddings = getter


def test_weights_are_not_copied():
    """The vectors share the model's memory, need no gradient, and are described as they are."""
    embedding = nn.Embedding(3, 4, dtype=torch.bfloat16)
    table = from_module(embedding, ["a", "b", "c"])
    assert table.vectors.data_ptr() == embedding.weight.data_ptr()
    assert not table.vectors.requires_grad
    assert table.provenance.dtype == "bfloat16"
    assert table.provenance.weights_sha256 == weights_sha256(embedding.weight)


def test_the_getter_is_asked_first():
    """A model that says which its input embedding is, is believed."""
    chosen = nn.Embedding(5, 2)
    assert from_module(Model(3, getter=lambda: chosen), list("abc")).width == 2


def no_answer():
    raise NotImplementedError


@pytest.mark.parametrize("getter", [None, no_answer])
@pytest.mark.parametrize(("sizes", "rows"), [((3, 9, 2), 3), ((8, 2), 8)])
def test_the_only_embedding_that_fits_is_found(getter, sizes, rows):
    """Without an answer it is the embedding as large as the tokenizer, else the only one that is larger."""
    assert len(from_module(Model(*sizes, getter=getter), list("abc")).vectors) == rows


@pytest.mark.parametrize("sizes", [(3, 3), (8, 9), (2,), ()])
def test_ambiguous_models_are_refused(sizes):
    """Where none or several embeddings fit, the error lists them."""
    with pytest.raises(UsageError, match=r"no one nn.Embedding as large as the tokenizer \(3 tokens; it holds"):
        from_module(Model(*sizes), list("abc"))


def test_tokenizers_are_read_and_left_as_they_were(wordpiece):
    """A tokenizer keeps the padding and truncation that the training needs."""
    table = from_module(nn.Embedding(20, 4), wordpiece)
    assert wordpiece.padding is not None
    assert wordpiece.truncation is not None
    assert table.excluded()["padding"] == 6


def test_fast_tokenizers_of_transformers(wordpiece):
    """A tokenizer of transformers is read through its backend."""
    wrapped = PreTrainedTokenizerFast(tokenizer_object=wordpiece)
    assert from_module(nn.Embedding(14, 4), wrapped).vocabulary.encode(["cats"]) == [(3, 4)]


@pytest.mark.parametrize(
    ("model", "tokenizer", "message"),
    [
        (nn.Embedding(2, 3), ["a", "b", "c"], "3 words but the embedding has only 2 rows"),
        (nn.Embedding(2, 3), "abc", "tokenizer is a str"),
        (nn.Embedding(2, 3), None, "tokenizer is a NoneType"),
        (nn.Embedding(3, 3, device="meta"), ["a"], "meta device"),
        (Model(getter=lambda: None), ["a"], "no matrix of floats"),
    ],
)
def test_what_does_not_fit_is_refused(model, tokenizer, message):
    """Wrong arguments are usage errors that say what was got."""
    with pytest.raises(UsageError, match=message):
        from_module(model, tokenizer)


def test_a_tokenizer_larger_than_the_model_is_refused(wordpiece):
    """A tokenizer with more tokens than rows is refused with both numbers."""
    with pytest.raises(UsageError, match="up to 13 but the embedding matrix has only 4 rows"):
        from_module(nn.Embedding(4, 2), wordpiece)


def words(rows):
    return [f"word{i}" for i in range(rows)]


@pytest.fixture
def gpt():
    """A small model of transformers, its output tied to its input."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=1))


# what the libraries under test say of each other's old names
LIBRARIES = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@LIBRARIES
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda m: torch.compile(nn.DataParallel(m))])
def test_wrapped_models_are_read_through(gpt, wrap):
    """The weights inside are the table, not a copy; nothing is compiled or run for it."""
    wrapped = wrap(gpt)
    wrapped.train()
    table = from_module(wrapped, words(30))
    assert table.vectors.data_ptr() == gpt.get_input_embeddings().weight.data_ptr()
    assert wrapped.training
    assert gpt.get_input_embeddings().weight.requires_grad


@LIBRARIES
def test_a_compiled_embedding():
    """What torch.compile gives is no nn.Embedding itself."""
    inner = nn.Embedding(3, 4)
    assert from_module(torch.compile(inner), list("abc")).vectors.data_ptr() == inner.weight.data_ptr()


def looked_up(model):
    """What the model itself makes of each id."""
    with torch.no_grad():
        return model.get_input_embeddings()(torch.arange(30))


def adapted(model, **options):
    from peft import LoraConfig, get_peft_model

    found = get_peft_model(model, LoraConfig(r=2, fan_in_fan_out=True, init_lora_weights=False, **options))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in (p for p in found.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return found


@pytest.mark.parametrize(
    ("options", "noted"),
    [
        ({"target_modules": ["c_attn"]}, False),
        ({"target_modules": ["c_attn", "wte"]}, True),
        ({"target_modules": ["c_attn"], "modules_to_save": ["wte"]}, False),
        ({"target_modules": ["c_attn"], "trainable_token_indices": [3, 4]}, False),
    ],
)
@LIBRARIES
def test_adapters_count(gpt, options, noted):
    """With PEFT the table is what the model looks up: the base, the base with LoRA added, or a trained copy."""
    base = gpt.get_input_embeddings().weight.detach().clone()
    model = adapted(gpt, **options)
    table = from_module(model, words(30))
    torch.testing.assert_close(table.vectors, looked_up(model), atol=1e-6, rtol=1e-5)
    assert torch.equal(table.vectors, base) == (len(options) == 1 and not noted)
    assert any("adapter default added" in note for note in table.provenance.notes) == noted
    assert not table.vectors.requires_grad
    with model.disable_adapter():
        torch.testing.assert_close(from_module(model, words(30)).vectors, base)
    if noted:
        model.merge_adapter()
        torch.testing.assert_close(from_module(model, words(30)).vectors, table.vectors, atol=1e-6, rtol=1e-5)


@LIBRARIES
def test_adapters_that_do_not_add_are_refused(gpt):
    """DoRA scales what it adds to."""
    with pytest.raises(UsageError, match="merge it first"):
        from_module(adapted(gpt, target_modules=["wte"], use_dora=True), words(30))


@LIBRARIES
def test_lengths_are_bounded_as_the_model_bounds_them(gpt):
    """Where an embedding has a largest length, the table holds the rows that the model gets, and nothing is written."""
    embedding = gpt.get_input_embeddings()
    embedding.max_norm = 0.05
    stored = embedding.weight.detach().clone()
    table = from_module(gpt, words(30))
    assert torch.equal(embedding.weight, stored)
    assert any("length of at most 0.05" in note for note in table.provenance.notes)
    torch.testing.assert_close(table.vectors, looked_up(gpt), atol=1e-6, rtol=1e-5)
    with pytest.raises(UsageError, match="merge it first"):  # PEFT bounds parts of the adapter too
        from_module(adapted(gpt, target_modules=["wte"]), words(30))


def test_partitions_of_deepspeed_are_refused():
    """It leaves an empty tensor with a mark where the weights were."""
    embedding = nn.Embedding(3, 4)
    embedding.weight = nn.Parameter(torch.empty(0))
    embedding.weight.ds_id = 0
    with pytest.raises(UsageError, match="partitioned by DeepSpeed"):
        from_module(embedding, list("abc"))
