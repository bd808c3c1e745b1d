"""Which tensor of a checkpoint is the input embedding, or the output matrix: a rule on names and shapes.

The two are said to be tied only where the config or the code says so, or all files are there and hold no other matrix
that could be a table of the vocabulary; a wrong matrix read in silence is worse than a list of candidates.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.sources.files import printable
from embcheck.sources.naming.config_facts import says_tied, share_of_width
from embcheck.sources.weights.stored import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.sources.files import JsonObject
    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.sources.weights.stored import Stored, TensorStore
    from embcheck.spec import ModelSpec

_LEAVES = frozenset(
    {
        "embed_in", "embed_tokens", "embed_tokens_weight", "embedding", "embeddings", "input_embedding", "shared",
        "tok_embedding", "tok_embeddings", "token_embedding", "token_embeddings", "tokens_embed", "w",
        "word_embedding", "word_embeddings", "wte",
    }
)  # fmt: skip
OTHER_TABLES = re.compile(
    r"vision|visual|image|pixel|patch|video|audio|speech|acoustic|position|pos_emb|token_type|segment|per_layer|mtp|codec"
)
_TEXT_PARTS = re.compile(r"text|language|llm|thinker|encoder")
_HEADS = frozenset(
    {"lm_head", "embed_out", "fc_out", "output_projection", "proj_out", "generator_lm_head", "lm_loss", "pred_layer"}
)
_HEAD_NAMES = re.compile(r"(output|head|decoder|(.*\.)?predictions\.decoder)\.weight")
_PACKED = frozenset({"qweight", "weight_packed", "qzeros", "scales"})
_HEADLESS = re.compile(r"(?!.*(LMHead|MTModel)).*(Model|Encoder|Classification|QuestionAnswering)")
_LISTED = 8
_NEARLY = 0.9  # of as many rows: tables are padded to round numbers
_COMPARED_ROWS = 256


def wanted_matrix(spec: ModelSpec) -> str:
    """What a spec's option ``matrix`` asks for: ``input``, also where it is absent, or ``output``."""
    wanted = spec.option("matrix") or "input"
    if wanted not in {"input", "output"}:
        raise SpecError(f"spec {spec.text!r}: matrix is {wanted!r}; choose input or output")
    return wanted


def choose(weights: Checkpoint, *, name: str | None, matrix: str = "input") -> tuple[Stored, tuple[str, ...]]:
    """Find the input embedding, or the output matrix (the same one where they are tied), with notes on the choice."""
    guess = _guess_output if matrix == "output" else _guess_input
    stored, notes = (_look_up(weights, name), ()) if name is not None else guess(weights)
    if len(stored.shape) != 2 or min(stored.shape) < 1:
        raise SourceError(f"{weights.origin}: tensor {stored} is not a matrix; choose another with tensor=NAME")
    if stored.dtype not in FLOATS:
        raise weights.quantized_error(stored)
    if name is None or is_table(stored.name) or is_head(stored.name):
        _refuse_a_part(weights, stored, is_named=name is not None)
    return stored, notes


def compare_tied(weights: Checkpoint, stored: Stored) -> tuple[str, ...]:
    """A note where the config says that input and output are one matrix, and the files hold two that differ."""
    if not says_tied(weights.config) or weights.missing:
        return ()
    heads = [s for s in weights.stored(n for n in weights.file_of if is_head(n)) if len(s.shape) == 2]
    if len(heads) != 1:
        return ()
    table, head = (stored, heads[0]) if is_table(stored.name) else (_guess_input(weights)[0], stored)
    if head != heads[0] or table == head or head.dtype not in FLOATS or table.dtype not in FLOATS:
        return ()
    if not weights.is_local:
        return (f"tied by the config, yet {printable(head.name)} is there too; the two were not compared",)
    if head.shape == table.shape:
        rows = slice(None, None, -(-head.shape[0] // _COMPARED_ROWS))
        if bool((weights.load(head)[rows] == weights.load(table)[rows]).all()):
            return ()
    return (f"the config says that {printable(head.name)} is tied to {printable(table.name)}, but the two differ",)


def tied_output(tensors: TensorStore, embedding: str) -> str | None:
    """Name of the output matrix that a model says is the input embedding: of that itself where no other is stored.

    None where the model does not say so, has no output matrix, as far as the name of its class tells, or several. Where
    its config is silent, what transformers makes of it counts.
    """
    heads = [name for name in tensors.names if is_head(name) and len(tensors.shape(name)) == 2]
    if not (is_table(embedding) or embedding in heads):
        return None
    output, *more = [name for name in heads if name != embedding] or [embedding]
    is_headless = _HEADLESS.fullmatch(_class_of(tensors.config)) is not None
    if more or (output == embedding and (is_headless or not tensors.may_drop_copies)):
        return None
    said = says_tied(tensors.config)
    if said is None and _class_of(tensors.config):
        from embcheck.sources.naming.model_code import output_by_code

        said = output_by_code(tensors.config) == "tied"
    return output if said else None


def _class_of(config: JsonObject) -> str:
    """Name of the model's class by its config, empty where that has none."""
    wanted = config.get("architectures")
    return wanted[0] if isinstance(wanted, list) and wanted and isinstance(wanted[0], str) else ""


def _refuse_a_part(weights: Checkpoint, stored: Stored, *, is_named: bool) -> None:
    """Refuse what can only be a part of the matrix, as one process of a model-parallel run keeps it."""
    rows, width = stored.shape
    least = min(vocab_sizes(weights.config), default=0)
    is_short = rows < least and (not is_named or least % rows == 0)
    whole = share_of_width(weights.config, width)
    if is_short or whole is not None:
        says = f"{least} rows" if is_short else f"width {whole}"
        raise SourceError(
            f"{weights.origin}: tensor {stored} is only a part of the matrix, for which the config says {says}; "
            "merge the parts of the model first, or give the config that belongs to it"
        )


def _look_up(weights: Checkpoint, name: str) -> Stored:
    for spelling in (name, f"{name}.weight"):
        if spelling in weights.file_of:
            return weights.stored([spelling])[0]
    raise SourceError(f"{weights.origin} has no tensor {name!r}; {_list(_matrices(weights))}")


def _guess_input(weights: Checkpoint) -> tuple[Stored, tuple[str, ...]]:
    sizes = vocab_sizes(weights.config)
    tables = [s for s in weights.stored(n for n in weights.file_of if is_table(n)) if len(s.shape) == 2]
    candidates = _narrow(tables, sizes)
    if len(candidates) == 1:
        return candidates[0], ()
    if packed := _packed(weights, is_table):
        raise weights.quantized_error(weights.stored(packed[:1])[0])
    if (choice := _ask_code(weights, candidates)) is not None:
        return choice
    if candidates:
        raise SourceError(
            f"{weights.origin}: several tensors could be the input embedding; choose with tensor=NAME; "
            f"{_list(candidates)}"
        )
    _refuse_empty(weights)
    if weights.missing:
        raise _missing_error(weights, "input embedding")
    heads = _heads(weights, sizes)
    if len(heads) == 1 and says_tied(weights.config) is not False:
        if rivals := _as_large(weights, heads[0]):
            raise SourceError(
                f"{weights.origin}: the input embedding is {heads[0].name} if it is tied to the output layer, but "
                f"another matrix is as large; choose with tensor=NAME; {_list([*rivals, *heads])}"
            )
        return heads[0], (f"input embedding tied to the output layer and stored as {heads[0].name}",)
    matrices = _matrices(weights)
    if len(weights.file_of) == len(matrices) == 1 and not heads:
        return matrices[0], (f"{matrices[0].name} is the only tensor",)
    raise SourceError(
        f"{weights.origin}: no tensor looks like an input embedding; choose with tensor=NAME; {_list(matrices)}"
    )


def _refuse_empty(weights: Checkpoint) -> None:
    """Refuse what DeepSpeed saves of a model whose parameters are spread over processes: names without numbers."""
    empty = [s for s in weights.stored(n for n in weights.file_of if is_table(n) or is_head(n)) if 0 in s.shape]
    if empty:
        raise SourceError(
            f"{weights.origin}: tensor {empty[0]} is empty, as DeepSpeed's ZeRO-3 leaves it; "
            "gather the weights with its zero_to_fp32.py first, and give what that writes"
        )


def _missing_error(weights: Checkpoint, what: str) -> SourceError:
    return SourceError(
        f"{weights.origin}: no tensor here looks like an {what}, and {printable(weights.missing[0])}, a part of the "
        "model, is not there; download it too"
    )


def _as_large(weights: Checkpoint, stored: Stored, *, besides_tables: bool = False) -> list[Stored]:
    """Other matrices that could be a table of the vocabulary too: with about as many rows, in no numbered layer."""
    count = stored.shape[0]
    return [
        other
        for other in _matrices(weights)
        if other != stored
        and min(other.shape) > 1  # a bias for every token is no table
        and not any(part.isdigit() for part in other.name.split("."))
        and not (besides_tables and is_table(other.name))
        and any(_NEARLY * count <= side <= count / _NEARLY for side in other.shape)
        and (other.shape[0] == count or not OTHER_TABLES.search(other.name))
    ]


def _ask_code(weights: Checkpoint, candidates: list[Stored]) -> tuple[Stored, tuple[str, ...]] | None:
    """What the model's own code says, where names don't tell and transformers knows the type."""
    kind = weights.config.get("model_type")
    if not isinstance(kind, str):
        return None
    from embcheck.sources.naming.model_code import held_as_input

    plain = [n for n in weights.file_of if not any(part.isdigit() for part in n.split("."))]
    said = [s for s in weights.stored(held_as_input(weights.config, plain)) if len(s.shape) == 2]
    agreed = [s for s in said if s in candidates] if candidates else said
    if said and not agreed:
        raise SourceError(
            f"{weights.origin}: by its names the input embedding is another tensor than by the code of "
            f"{kind} models; choose with tensor=NAME; {_list([*candidates, *said])}"
        )
    if not agreed:
        return None
    return agreed[0], (f"{agreed[0].name} is the input embedding by the code of {kind} models",)


def _guess_output(weights: Checkpoint) -> tuple[Stored, tuple[str, ...]]:
    sizes = vocab_sizes(weights.config)
    if packed := _packed(weights, is_head):
        raise weights.quantized_error(weights.stored(packed[:1])[0])
    heads = _heads(weights, sizes)
    if len(heads) == 1:
        return heads[0], ()
    named = [s for s in weights.stored(n for n in weights.file_of if is_head(n)) if len(s.shape) == 2]
    if heads or named:
        raise SourceError(
            f"{weights.origin}: several tensors could be the output matrix, or one of another size; "
            f"choose with tensor=NAME; {_list(heads or named)}"
        )
    if weights.missing:
        raise _missing_error(weights, "output matrix")
    if says_tied(weights.config) is not False:
        _refuse_headless(weights)
        own = [n for n in weights.file_of if is_table(n) and "decoder" in n.split(".")[:2]]
        decoder = _narrow([s for s in weights.stored(own) if len(s.shape) == 2], sizes)
        stored, notes = (decoder[0], ()) if len(decoder) == 1 else _guess_input(weights)
        if rivals := _as_large(weights, stored, besides_tables=True):
            raise SourceError(
                f"{weights.origin}: the output matrix is {stored.name} if it is tied to the input embedding, but "
                f"another matrix is as large; choose with tensor=NAME; {_list([*rivals, stored])}"
            )
        return stored, (*notes, "the output matrix is tied to the input embedding")
    raise SourceError(
        f"{weights.origin}: no tensor looks like an output matrix; choose with tensor=NAME; {_list(_matrices(weights))}"
    )


def _refuse_headless(weights: Checkpoint) -> None:
    """Refuse to say "tied" of a model that has no output layer by its code, or by the name of its class."""
    name = _class_of(weights.config)
    if not name:
        return
    from embcheck.sources.naming.model_code import output_by_code

    known = output_by_code(weights.config)
    if known == "none" or (known is None and _HEADLESS.fullmatch(name)):
        raise SourceError(
            f"{weights.origin}: a {printable(name)} has no output matrix; give a model that predicts tokens, "
            "or leave out matrix=output"
        )


def _heads(weights: Checkpoint, sizes: tuple[int, ...]) -> list[Stored]:
    least = min(sizes, default=1)
    heads = weights.stored(n for n in weights.file_of if is_head(n))
    return _narrow([s for s in heads if len(s.shape) == 2 and s.shape[0] >= least], sizes)


def _narrow(candidates: list[Stored], sizes: tuple[int, ...]) -> list[Stored]:
    """Prefer rows equal to the vocabulary's size, then ``shared``, then what no decoder has, then no encoder."""
    preferences: list[Callable[[Stored], bool]] = [lambda s, size=size: s.shape[0] == size for size in sizes]  # type: ignore[misc]
    preferences += [lambda s: _leaf(s.name) == "shared", lambda s: _leaf(s.name) != "w"]
    for part in ("decoder", "encoder"):
        preferences.append(lambda s, part=part: part not in s.name.split("."))  # type: ignore[misc]
    preferences += [lambda s: "language_model" in s.name.split(".")]
    for prefer in preferences:
        preferred = [s for s in candidates if prefer(s)]
        candidates = preferred or candidates
    return candidates


def vocab_sizes(config: JsonObject, depth: int = 3) -> tuple[int, ...]:
    """Sizes of the vocabulary by a config.json: the model's own, else those of its text part, a few levels down."""
    if isinstance(size := config.get("vocab_size"), int) and size > 0:  # Meta's files say -1 for "as the tokenizer"
        return (size,)
    if not depth:
        return ()
    parts = [v for k, v in config.items() if isinstance(v, dict) and _TEXT_PARTS.search(k)]
    return tuple(dict.fromkeys(size for part in parts for size in vocab_sizes(part, depth - 1)))


def is_table(name: str) -> bool:
    """Whether a tensor bears a name that models give their input embedding."""
    parts = name.split(".")
    return _leaf(name) in _LEAVES and not any(p.isdigit() or OTHER_TABLES.search(p) for p in parts)


def split_table(name: str) -> tuple[str, str]:
    """The table of tokens that a tensor is a part of by its name, and which part; two empty texts where it is none."""
    parts = name.split(".")
    ends = [at for at, part in enumerate(parts, 1) if part in _LEAVES]
    table = ".".join(parts[: ends[-1]]) if ends else ""
    return (table, name[len(table) + 1 :]) if table and is_table(table) else ("", "")


def _packed(weights: Checkpoint, is_whole: Callable[[str], bool]) -> list[str]:
    """Tensors that an input embedding, or an output layer, was packed into and that don't make one that is read."""
    held = [(n, f"{n.rpartition('.')[0]}.weight") for n in weights.file_of if n.rpartition(".")[2] in _PACKED]
    return [n for n, whole in held if is_whole(whole) and (whole not in weights.file_of or n.endswith("qweight"))]


def is_head(name: str) -> bool:
    """Whether a tensor bears a name that models give their output matrix."""
    parts = name.split(".")
    known = parts[-2:-1] != ["dense"] and parts[-1] not in _PACKED and not _HEADS.isdisjoint(parts)
    return (known or _HEAD_NAMES.fullmatch(name) is not None) and not any(
        p.isdigit() or OTHER_TABLES.search(p) for p in parts
    )


def _leaf(name: str) -> str:
    return name.removesuffix(".weight").rsplit(".", 1)[-1]


def _matrices(weights: Checkpoint) -> list[Stored]:
    """Every matrix, the one with the most rows first."""
    matrices = [s for s in weights.stored(weights.file_of) if len(s.shape) == 2]
    return sorted(matrices, key=lambda s: (-s.shape[0], s.name))


def _list(candidates: Sequence[Stored]) -> str:
    if not candidates:
        return "it holds no matrix at all"
    more = f" and {len(candidates) - _LISTED} more" if len(candidates) > _LISTED else ""
    return "candidates: " + "; ".join(map(str, candidates[:_LISTED])) + more
