"""The commands for looking at one model: each is a function of `embcheck.explore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck import lexicons, sources
from embcheck.cli.common import options, show_lines
from embcheck.config.config import resolve
from embcheck.config.models import load, named
from embcheck.errors import UsageError
from embcheck.reports import json_file
from embcheck.reports.terminal import views
from embcheck.settings import using

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from embcheck.config.config import Config
    from embcheck.reports.wording import Line
    from embcheck.spec import ModelSpec

_TABLE = ("device", "dtype", "population", "matrix", "tensor", "json")
_count = click.option("-k", "count", type=click.IntRange(min=1), default=10, help="How many to show. [default: 10]")


@click.command(short_help="Show what a model spec holds.")
@click.argument("spec")
@options(*_TABLE)
def inspect(spec: str, **given: Any) -> int:
    """Show what is read of SPEC: the tensor, which rows count and why others don't, lengths, kinds of token."""
    from embcheck import explore

    config, model = _prepared(spec, given)
    source = sources.describe(model).record()
    show_lines(lambda encoding: views.described(model.alias, source, encoding=encoding), *config.outputs())
    return _shown(explore.inspect(load(config, model), spec=model, source=source), views.inspect, config)


@click.command(short_help="Compare one token, or some drawn at random, with all others.")
@click.argument("spec")
@click.argument("token", required=False, metavar='[TOKEN|"TOKEN"|#ID]')
@click.option("--random", "count", type=click.IntRange(min=1), metavar="N", help="Draw N tokens, and average.")
@options(*_TABLE, "seed")
def probe(spec: str, token: str | None, count: int | None, **given: Any) -> int:
    """Compare one token of SPEC with all others: statistics of its cosines, the nearest and the farthest tokens.

    A word may be a token with a leading space or without; in double quotes of its own ('"!"', '" !"') it is
    exactly that token. With --random instead, the same statistics of N tokens, averaged, and which these are.
    """
    from embcheck import explore

    if (token is None) == (count is None):
        raise UsageError("give either a token, or --random N")
    config, model = _prepared(spec, given)
    table = load(config, model)
    if token is not None:
        return _shown(explore.probe(table, token), views.probe, config)
    with using(config.settings):
        return _shown(explore.probe_random(table, count or 0), views.probe_random, config)


@click.command(short_help="Show how words split into tokens.")
@click.argument("spec")
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@options(*_TABLE)
def tokens(spec: str, words: tuple[str, ...], **given: Any) -> int:
    """Show how each WORD splits into tokens of SPEC, their rows, and the row that a claim about the word would use."""
    from embcheck import explore

    config, model = _prepared(spec, given)
    return _shown(explore.tokens(load(config, model), words), views.tokens, config)


@click.command(short_help="Compare two words.")
@click.argument("spec")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options(*_TABLE, "seed")
def similarity(spec: str, first: str, second: str, **given: Any) -> int:
    """Compare A with B by cosine, dot product and distance, each with its percentile among random pairs of rows.

    Each may be a word (of several tokens: their mean), a token in double quotes of its own, or #ID.
    """
    from embcheck import explore

    config, model = _prepared(spec, given)
    with using(config.settings):
        return _shown(explore.similarity(load(config, model), first, second), views.similarity, config)


@click.command(short_help="List a word's nearest neighbours.")
@click.argument("spec")
@click.argument("word", metavar='WORD|"TOKEN"|#ID')
@_count
@click.option("--merge", is_flag=True, help="Count case and space variants of a word once.")
@options(*_TABLE)
def neighbors(spec: str, word: str, count: int, *, merge: bool, **given: Any) -> int:
    """List the tokens of SPEC nearest to WORD by cosine."""
    from embcheck import explore

    config, model = _prepared(spec, given)
    return _shown(explore.neighbors(load(config, model), word, count, merge=merge), views.neighbors, config)


@click.command(short_help="Solve an analogy such as king - man + woman, or a file of them.")
@click.argument("spec")
@click.argument("terms", nargs=-1, metavar="[A - B + C [= TARGET]]")
@_count
@click.option("--questions", type=Path, metavar="FILE", help="Answer a file of questions, as questions-words.txt is.")
@click.option("--restrict", type=click.IntRange(min=1), metavar="N", help="Questions: only the first N rows are words.")
@click.option("--keep-case", is_flag=True, help="Questions: a word in another case is another word.")
@click.option("--keep-sources", is_flag=True, help="Questions: A, B and C may be answers.")
@options(*_TABLE)
def analogy(spec: str, terms: tuple[str, ...], count: int, **given: Any) -> int:
    """List the tokens of SPEC nearest to A - B + C, with the three words excluded and kept.

    With --questions instead: the share of a file's questions that SPEC answers rightly, section by section.
    """
    from embcheck import explore
    from embcheck.table.vocabulary import refuse_blank

    file: Path | None = given.pop("questions")
    rules = {name: given.pop(name) for name in ("restrict", "keep_case", "keep_sources")}
    if bool(terms) == bool(file):
        raise UsageError("give either an analogy, such as king - man + woman, or --questions FILE")
    if not file:
        if chosen := [name.replace("_", "-") for name, value in rules.items() if value]:
            raise UsageError(f"--{chosen[0]} is a rule for --questions FILE")
        for term in terms:
            refuse_blank(term)
        question = " ".join(terms)
        explore.parse_analogy(question)  # before the model is read
        config, model = _prepared(spec, given)
        return _shown(explore.analogy(load(config, model), question, count), views.analogy, config)
    questions = lexicons.questions(file)
    config, model = _prepared(spec, given)
    return _shown(explore.answers(load(config, model), questions, **rules), views.answers, config)


def _prepared(spec: str, given: Mapping[str, Any]) -> tuple[Config, ModelSpec]:
    """The options, and the model."""
    config = resolve(given, root=Path.cwd())
    model = named(config, spec)
    sources.check(model)
    if config.json:
        json_file.check_writable(config.json)
    return config, model


def _shown(document: Mapping[str, Any], view: Callable[..., list[Line]], config: Config) -> int:
    show_lines(lambda encoding: view(document, encoding=encoding), *config.outputs())
    if config.json:
        json_file.write(document, config.json)
    return 0


COMMANDS = (inspect, tokens, probe, similarity, neighbors, analogy)
