"""A file of 19,544 analogy questions on GloVe 6B, beside gensim's evaluate_word_analogies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.registry import Missing, Row, Run, alternative
from benchmarks.tables import glove_files
from embcheck import lexicons, measures, sources
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY = 20  # of the questions that gensim is timed on, and scaled


def thinned(source: Path, target: Path, every: int) -> int:
    """Write every so manieth question of a file to another, sections kept; how many."""
    lines, count = [], 0
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines()):
        if line.startswith(":"):
            lines.append(line)
        elif number % every == 0:
            lines.append(line)
            count += 1
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return count


def rows(run: Run) -> Iterator[Row]:
    """One row; answers of both must be equal on the questions that both were asked."""
    about = ("analogies", "19,544 analogy questions, 400,000 x 50 (GloVe 6B)", "gensim evaluate_word_analogies")
    if not hasattr(measures, "analogy_accuracy"):
        yield Row(*about, note="not measured: this version has no measure for whole question files")
        return
    try:
        gensim = alternative("gensim.models", "gensim")
        matrix, words = glove_files()
    except Missing as why:
        yield Row(*about, note=str(why))
        return
    datapath = alternative("gensim.test.utils", "gensim").datapath
    whole = Path(datapath("questions-words.txt"))
    table = sources.load(parse(f"npy:{matrix},vocab={words}"), device="cpu")
    few, part = run.scratch / "some.txt", run.scratch / "fewer.txt"
    asked = thinned(whole, part, run.size(EVERY, 1_000))
    thinned(whole, few, 1 if not run.small else 1_000)
    size = run.size(len(table.vectors), 20_000)
    keyed = gensim.KeyedVectors(table.width)
    keyed.add_vectors(list(table.tokens[:size]), table.vectors[:size].float().numpy())

    def ours(file: Path) -> float:
        return measures.analogy_accuracy(table, lexicons.questions(file), restrict=size).value

    def theirs() -> float:
        return keyed.evaluate_word_analogies(str(part), restrict_vocab=size)[0]

    assert abs(ours(part) - theirs()) < 1e-12, (ours(part), theirs())
    questions = sum(not line.startswith(":") for line in few.read_text(encoding="utf-8").splitlines())
    note = f"gensim timed on {asked} of the questions, and scaled; equal answers on them"
    yield run.row(about, lambda: ours(few), theirs, target=20, scale=questions / asked, note=note)
