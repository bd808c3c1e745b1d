"""Which tensor of a model is read: by names and shapes, checked against the code of every model of transformers."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import pytest
import torch

from embcheck import sources
from embcheck.errors import SourceError, SpecError
from embcheck.sources.naming.choose import choose
from embcheck.sources.naming.config_facts import embedding_scale
from embcheck.sources.naming.model_code import held_as_input
from embcheck.sources.tokenizers.load import offline
from embcheck.sources.weights.checkpoint import Checkpoint
from embcheck.sources.weights.stored import Stored


class Named(Checkpoint):
    """A checkpoint of which only names and shapes are known."""

    origin = "model"

    def __init__(self, shapes, config):
        self.config = config
        self.file_of = dict.fromkeys(shapes, "model.safetensors")
        self._shapes = shapes
        self._scaled = {}

    def stored(self, names):
        """As a checkpoint's."""
        return [Stored(name, "model.safetensors", self._shapes[name], "F32") for name in names]


def chosen(names, config=None, *, matrix="input", rows=14):
    """The name of the chosen one of some 14 x 4 tensors."""
    shapes = names if isinstance(names, dict) else dict.fromkeys(names, (rows, 4))
    return choose(Named(shapes, config or {}), name=None, matrix=matrix)


# --- every model of transformers --------------------------------------------------------------------------------

_FEW = ("decoder_layers", "depth", "encoder_layers", "n_layer", "n_layers", "n_routed_experts", "num_decoder_layers")
_FEW += ("num_encoder_layers", "num_experts", "num_hidden_layers", "num_layers", "num_local_experts")
_TASKS = ("", "_FOR_CAUSAL_LM", "_FOR_MASKED_LM", "_FOR_SEQ_TO_SEQ_CAUSAL_LM", "_FOR_IMAGE_TEXT_TO_TEXT")
_WRONG = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


def classes():
    """Every model class of transformers that the common tasks know, with its config class."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    mappings = [getattr(modeling_auto, f"MODEL{task}_MAPPING", {}) for task in _TASKS]
    for kind in CONFIG_MAPPING:
        found = {}
        for mapping in mappings:
            try:
                made = mapping.get(CONFIG_MAPPING[kind], None)
            except (*_WRONG, StrictDataclassError):
                continue
            found |= {one.__name__: one for one in (made if isinstance(made, tuple | list) else [made]) if one}
        for one in found.values():
            yield one, CONFIG_MAPPING[kind], (*_WRONG, StrictDataclassError)


def shrink(config, depth=4):
    """Leave few layers."""
    for key in _FEW:
        if isinstance(getattr(config, key, None), int):
            setattr(config, key, 1)
    for part in vars(config).values():
        if hasattr(part, "model_type") and depth:
            shrink(part, depth - 1)
    return config


def build(make, config_class, wrong):
    """A model without memory for its weights, small if its config allows; ``None`` where defaults don't build."""
    for cut in (shrink, lambda config: config):
        try:
            with torch.device("meta"):
                return make(cut(config_class()))
        except wrong:
            continue
    return None


def names_of(model, module):
    weight = getattr(module, "weight", None)
    return {name for name, one in model.named_parameters(remove_duplicate=False) if one is weight}


def embedding_models():
    """Models with a table of embeddings as input, whose numbers of layers are cut."""
    for made in classes():
        model = build(*made)
        try:
            table = None if model is None else model.get_input_embeddings()
        except NotImplementedError:
            continue
        if isinstance(table, torch.nn.Embedding):
            yield model, table


def judge(shapes, config, right, matrix="input"):
    """Whether the choice is right; an error is not, but not wrong either."""
    try:
        found, _ = choose(Named(shapes, config), name=None, matrix=matrix)
    except SourceError:
        return "refused"
    return "right" if found.name in right else f"wrong: {found}, not {' or '.join(sorted(right))}"


@pytest.mark.slow
def test_the_tensor_is_what_the_models_of_transformers_hold(capsys):
    """In at least 90% of all model classes the rule finds what ``get_input_embeddings()`` holds, and never another."""
    scores = {"as built": Counter(), "as saved": Counter(), "output": Counter()}
    faults, factors = [], []
    with warnings.catch_warnings(), offline():
        warnings.simplefilter("ignore")
        for model, table in embedding_models():
            shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
            config = model.config.to_dict()
            tied = getattr(model, "all_tied_weights_keys", None) or {}
            saved = {name: shape for name, shape in shapes.items() if name not in tied}
            cases = {"as built": (shapes, "input", table), "as saved": (saved, "input", table)}
            if isinstance(head := model.get_output_embeddings(), torch.nn.Linear):
                cases["output"] = (saved, "output", head)
            for case, (held, matrix, module) in cases.items():
                verdict = judge(held, config, names_of(model, module), matrix)
                scores[case][verdict.split(":")[0]] += 1
                faults += [f"{case}, {type(model).__name__}: {verdict}"] if verdict != "right" else []
            factor = getattr(table, "scalar_embed_scale", getattr(table, "embed_scale", 1.0))
            ours = embedding_scale(config) or 1.0
            if hasattr(table, "embed_scale") and not math.isclose(float(factor), ours, rel_tol=1e-6):
                factors.append(f"{type(model).__name__}: {float(factor):.6g}, not {ours:.6g}")
    with capsys.disabled():
        print(  # noqa: T201 - the score is what this test is read for
            *(f"\n{case}: {dict(score)}" for case, score in scores.items()), *faults, *factors, sep="\n  "
        )
    for case in ("as built", "as saved"):
        assert scores[case]["right"] >= 0.9 * scores[case].total() > 500
        assert not scores[case]["wrong"]
    assert not factors


# --- what names alone don't tell --------------------------------------------------------------------------------


PROPHETNET = {"model_type": "prophetnet", "vocab_size": 14}


def test_model_code_is_asked_where_names_do_not_tell():
    """Two tables that names don't tell apart are told apart by the code of the model's type."""
    names = ["a.word_embeddings.weight", "prophetnet.word_embeddings.weight", "c.word_embeddings.weight"]
    config = PROPHETNET | {"architectures": ["ProphetNetForConditionalGeneration"]}
    found, notes = chosen(names, config)
    assert found.name == "prophetnet.word_embeddings.weight"
    assert any("by the code of prophetnet models" in note for note in notes)
    with pytest.raises(SourceError, match="several tensors could be"):
        chosen(names, {"model_type": "no such type"})


def test_model_code_that_disagrees_is_an_error():
    """Names that point elsewhere than the model's code leave the choice to the user, among all of them."""
    names = {f"{part}.wte.weight": (14, 4) for part in "ab"} | {"prophetnet.word_embeddings.weight": (9, 4)}
    with pytest.raises(SourceError, match=r"by the code of prophetnet .* a\.wte.* b\.wte.* prophetnet\.word_emb"):
        chosen(names, PROPHETNET | {"architectures": ["ProphetNetForConditionalGeneration"]})


def test_renamed_checkpoints_are_followed():
    """A checkpoint with the names of an earlier release is read through the renaming that transformers does."""
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
    names = ["language_model.model.embed_tokens.weight", "other.weight"]
    assert held_as_input(config, names) == names[:1]


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama", "num_hidden_layers": 10**9, "layer_types": ["x"] * 7},
        {"model_type": "llama", "hidden_size": "large"},
        {"model_type": "llama", "architectures": ["os"], "hidden_size": -1},
        {"model_type": "vit"},
        {"model_type": "custom", "auto_map": {"AutoModel": "evil.Model"}},
    ],
)
def test_configs_that_do_not_build_tell_nothing(config):
    """A hostile or unknown config is no error here, and is not built for long."""
    assert held_as_input(config, ["wte.weight"]) == []


@pytest.mark.parametrize(
    ("names", "config", "name"),
    [
        (["dit.embed_tokens.weight", "vlm.language_model.embed_tokens.weight"], {}, "vlm.language_model"),
        (["encoder.word_embeddings.weight", "word_embeddings.weight"], {}, "word_embeddings"),
    ],
)
def test_a_part_of_the_model_comes_second(names, config, name):
    """The language model's own table is meant, not that of one of its parts."""
    assert chosen(names, config)[0].name.startswith(name)


@pytest.mark.parametrize("part", ["qweight", "weight_packed", "scales"])
def test_packed_tables_are_refused_by_name(part):
    """A table packed into several tensors is not mistaken for a missing one; the message says how it was quantized."""
    names = [f"model.embed_tokens.{part}", "lm_head.weight"]
    with pytest.raises(SourceError, match=rf"embed_tokens\.{part} .* is quantized with gptq"):
        chosen(names, {"quantization_config": {"quant_method": "gptq"}})


# --- the output matrix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "config", "name", "tied"),
    [
        (["wte.weight", "lm_head.weight"], {}, "lm_head.weight", False),
        (["wte.weight", "embed_out.weight"], {}, "embed_out.weight", False),
        (["tok_embeddings.weight", "output.weight"], {}, "output.weight", False),
        (["decoder.tok_embedding.weight", "decoder.fc_out.weight"], {}, "decoder.fc_out.weight", False),
        (["wte.weight", "cls.predictions.decoder.weight"], {}, "cls.predictions.decoder.weight", False),
        (["wte.weight", "lm_head.dense.weight", "lm_head.decoder.weight"], {}, "lm_head.decoder.weight", False),
        (["wte.weight"], {}, "wte.weight", True),
        (["wte.weight"], {"tie_word_embeddings": True}, "wte.weight", True),
        (["encoder.wte.weight", "decoder.wte.weight"], {}, "decoder.wte.weight", True),
    ],
)
def test_the_output_matrix(names, config, name, tied):
    """The unembedding is the output layer, or the table that it is tied to, which the notes say."""
    found, notes = chosen(names, config, matrix="output")
    assert found.name == name
    assert any("tied" in note for note in notes) == tied


@pytest.mark.parametrize(
    ("names", "config", "message"),
    [
        (["wte.weight"], {"tie_word_embeddings": False}, "no tensor looks like an output matrix"),
        (["a.lm_head.weight", "b.lm_head.weight"], {}, "several tensors could be the output matrix"),
    ],
)
def test_an_output_matrix_that_is_not_there(names, config, message):
    """What can't be told is refused with the candidates."""
    with pytest.raises(SourceError, match=message):
        chosen(names, config, matrix="output")


def test_the_matrix_is_an_option_of_the_spec(save_model, wordpiece, matrix):
    """``matrix=output`` reads the output layer of a directory."""
    tensors = {"wte.weight": matrix(14), "lm_head.weight": matrix(15)}
    assert sources.load(save_model(tensors, wordpiece, options=",matrix=output")).provenance.tensor == "lm_head.weight"
    with pytest.raises(SpecError, match="matrix is 'both'; choose input or output"):
        sources.load(save_model(tensors, wordpiece, options=",matrix=both"))


# --- scale ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        ({}, None),
        ({"model_type": "llama", "hidden_size": 64}, None),
        ({"model_type": "gemma3_text", "hidden_size": 64}, 8),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 64}}, 8),
        ({"model_type": "bart", "d_model": 16, "scale_embedding": True}, 4),
        ({"model_type": "bart", "d_model": 16, "scale_embedding": False}, None),
        ({"model_type": "granite", "embedding_multiplier": 12.0}, 12),
        ({"model_type": "granite", "embedding_multiplier": 1.0}, None),
        ({"model_type": "gemma", "hidden_size": "large"}, None),
        ({"model_type": "minicpm3", "scale_emb": float("nan")}, None),
        ({"model_type": "recurrent_gemma", "hidden_size": 64, "embeddings_scale_by_sqrt_dim": False}, None),
    ],
)
def test_scale_outside_the_table(config, factor):
    """What a model multiplies its embeddings by is read off its config."""
    assert embedding_scale(config) == factor


def test_scale_is_on_record(save_model, wordpiece, matrix):
    """A table whose model scales it says by how much, but not as an output matrix."""
    config = {"model_type": "gemma", "hidden_size": 4}
    tensors = {"wte.weight": matrix(14)}
    note = "the model multiplies its embeddings by 2"
    assert note in sources.load(save_model(tensors, wordpiece, config)).provenance.notes
    spec = save_model(tensors, wordpiece, config, options=",matrix=output")
    assert note not in sources.load(spec).provenance.notes
