"""What each cause of an encoder's other vectors is called, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SENTENCES = {
    "identical": "The vectors are the reference's",
    "pooling": "Tokens are pooled by {is}, not by {instead of}",
    "normalisation": "Normalisation to length 1 is {is}",
    "order": "{rows} of the rows stand at another text's place, within {within} at a time",
    "precision": "Numbers have the precision of {dtype}, in {in}",
    "width": "The first {kept} of {of} numbers are kept",
    "prefix": "The prefix {text!r} is {is}",
    "special tokens": "The tokens that the tokenizer puts around a text are missing",
    "case": "Texts come lower-cased, which the model does not want",
    "case kept": "Texts are not lower-cased, as the model wants them",
    "truncation": "Texts are cut at {tokens} tokens instead of {instead of}",
    "truncation later": "Texts are cut at {at least} tokens or more, or not at all, instead of {instead of}",
    "padding": "Padding is taken for tokens in {taken for tokens in}, so a text's vector depends on those sent with it",
}
_REMEDIES = {
    "identical": "Nothing is to be done.",
    "pooling": "Set the server's pooling to what 1_Pooling/config.json says.",
    "normalisation": "Switch the server's normalisation to what modules.json says, or normalise on both sides.",
    "order": "Sort the answers back to the order of the request, by index.",
    "precision": "Nothing where that is meant; else serve and send float32.",
    "width": "Nothing where fewer dimensions are meant; else leave out dimensions= or truncate_dim.",
    "prefix": "Put the model's prefix in front of each text exactly once, either in the client or in the server.",
    "special tokens": "Tokenize with add_special_tokens=True.",
    "case": "Use the tokenizer that belongs to the model, and its do_lower_case; send texts as they are.",
    "truncation": "Set the server's longest input to the model's max_seq_length.",
    "padding": "Pass the attention mask to the model and to the pooling.",
}


def explained(
    causes: Sequence[tuple[str, Sequence[tuple[str, float | int | str]]]],
    residual: float,
    rows: tuple[int, ...],
) -> list[Explanation]:
    """An explanation for each cause of a trial that stands."""
    named = [(name, dict(parameters)) for name, parameters in causes]
    if not named:
        return [_explanation("identical", {}, residual, ())]
    return [_explanation(name, parameters, residual, rows) for name, parameters in named]


def _explanation(
    name: str, parameters: Mapping[str, float | int | str], residual: float, rows: tuple[int, ...]
) -> Explanation:
    key = "case kept" if name == "case" and parameters["is"] == "kept" else name
    key = "truncation later" if "at least" in parameters else key
    sentence = _SENTENCES[key].format(**parameters) + "."
    return Explanation(name, dict(parameters), residual, rows, sentence, _REMEDIES[name])
