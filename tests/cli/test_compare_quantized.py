"""Files that carry less than the original: compare holds them to what both have, and says what it left out."""

import json

import numpy as np
import pytest

import embcheck as package
from embcheck.baseline.pairing import shared_population


@pytest.fixture(scope="module")
def vectors():
    """A small Gaussian matrix."""
    return np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)


WORDS = [f"w{i}" for i in range(400)]


def save(project, name, matrix, words):
    np.save(project / f"{name}.npy", matrix)
    (project / f"{name}.txt").write_text("\n".join(words))
    return f"{name}=npy:{name}.npy,vocab={name}.txt"


@pytest.mark.slow
def test_both_are_measured_on_the_rows_that_both_have(embcheck, project, vectors):
    """Forty rows that only one has, far away, change nothing of the others: no value moves, and one line says so."""
    more = np.vstack([vectors, np.float32(50) + vectors[:40]])
    specs = save(project, "a", vectors, WORDS), save(project, "b", more, [*WORDS, *(f"x{i}" for i in range(40))])
    glob = ("--property", "isotropy", "--property", "hubness", "--json", "out.json")
    for pair, sizes in ((specs, "400 and 440"), (specs[::-1], "440 and 400")):
        found = embcheck("compare", *pair, *glob)
        said = f"populations differ: {sizes} rows; both are measured on the 400 that both have"
        assert (found.code, said in " ".join(found.out.split())) == (0, True), found.out
        document = json.loads((project / "out.json").read_text())
        assert document["populations"] == said
        assert {row["change"]["value"] for row in document["changes"]} == {0.0}
    assert embcheck("compare", specs[0], specs[0], *glob).out.count("populations") == 0


def test_words_are_found_in_a_matrix_without_its_tokenizer():
    """Of the demo model's words without its tokenizer the same rows are measured, under the same names in any case."""
    demo = package.load("demo")
    bare = package.EmbeddingTable.from_arrays(demo.vectors, list(demo.tokens))
    assert (len(demo.population), len(bare.population), bare.rows(["Rome"])) == (29_186, 29_528, demo.rows(["rome"]))
    for pair in ((demo, bare), (bare, demo)):
        shared = shared_population(*pair, ["Rome"])
        for table in (shared.old, shared.new, shared.with_words):
            assert table.rows(["Rome"]) == demo.rows(["Rome"])
            assert np.array_equal(table.population, demo.population)


def test_a_word_that_went_stays_in_the_list_that_lost_it(vectors):
    """Of two words that the second lacks the one on a list is kept for the lists; other rows are those of both."""
    old = package.EmbeddingTable.from_arrays(vectors, WORDS)
    new = package.EmbeddingTable.from_arrays(vectors[:398], WORDS[:398])
    shared = shared_population(old, new, ["w399", "w1"])
    assert [len(t.population) for t in (shared.old, shared.new, shared.with_words)] == [398, 398, 399]
    assert shared.with_words.rows(["w398", "w399"]) == [None, 399]


LACKING = """
from embcheck import Estimate, above, claim


def _wide(said):
    return lambda table, params: said if table.width > 4 else None


@claim(above(0), margin=1, on_noise="any", needs=_wide("no layers"))
def deep(table):
    \"\"\"There are layers.\"\"\"
    return Estimate.exact(1.0)


@claim(above(0), margin=1, on_noise="any", needs=_wide("3 of 4 words"))
def wordy(table):
    \"\"\"There are words.\"\"\"
    return Estimate.exact(1.0)
"""


def test_weights_that_a_file_does_not_carry_are_not_compared_and_words_that_it_lost_fail(embcheck, project):
    """Without layers on one side a check passes by as "not compared", of specs and reports; lost words are an error."""
    (project / "properties" / "lacking.py").write_text(LACKING)
    for name, spec in (("a", "random:20x4"), ("b", "random:20x8")):
        chosen = ("--property", "deep", "--property", "wordy")
        embcheck("check", f"m={spec}", *chosen, "--json", f"{name}.json")
    for pair in (("random:20x4", "random:20x8"), ("a.json", "b.json")):
        for first, second in (pair, pair[::-1]):
            deep = embcheck("compare", first, second, "--property", "deep", "--summary", "out.md")
            assert (deep.code, "not compared  deep  no layers" in deep.out) == (0, True), deep.out
            assert "not compared" in (project / "out.md").read_text().partition("`deep`")[2]
        lost = embcheck("compare", *pair, "--property", "wordy", "--summary", "out.md", "--html", "out.html")
        assert (lost.code, "error         wordy" in lost.out) == (1, True)
        assert "| error |" in (project / "out.md").read_text()
        assert "</b>error</span>" in (project / "out.html").read_text()


def test_github_hears_of_a_comparison_that_fails(embcheck, project, monkeypatch):
    """The cause, then failing limits, then checks: ten ``::error`` at most; the Markdown is in the job's summary."""
    lists = "size=[" + ", ".join(map(str, range(12))) + "]"
    many = LACKING.replace('needs=_wide("3 of 4 words")', f'needs=_wide("3 of 4 words"), {lists}')
    (project / "properties" / "lacking.py").write_text(many.replace("wordy(table)", "wordy(table, size)"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "step.md"))
    (project / "step.md").write_text("before\n")
    options = ("--property", "wordy", "--min-overlap", "1", "--summary", "out.md")
    found = embcheck("compare", "random:20x4", "random:20x8", *options)
    lines = [line for line in found.err.splitlines() if line.startswith("::")]
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 10 + ["::warning"]
    assert "See: embcheck diagnose random:20x4 random:20x8" in lines[0]
    assert lines[1].startswith("::error title=--min-overlap%3A random%3A20x8 against random%3A20x4::mean Jaccard of ")
    assert lines[2].endswith("::error; 3 of 4 words")
    assert lines[-1].startswith("::warning title=4 more checks failed::")
    assert (project / "step.md").read_text() == "before\n" + (project / "out.md").read_text() + "\n"


def test_a_summary_that_would_be_too_long_keeps_the_worst_checks():
    """In half of its bytes the Markdown has the drift and the worst checks, and says how many it leaves out."""
    from embcheck.checks.record import Change
    from embcheck.reports import summary
    from embcheck.reports.comparison import Compared, Comparison, Drift

    change = Change(state="match", passes=True, value=0.0, low=0.0, high=0.0, before=1.0, after=1.0, margin=1.0)
    rows = [Compared(f"fine[{i}]", change) for i in range(200)]
    rows += [Compared("lost", None, "3 of 4 words", has_failed=True)]
    compared = Comparison(models=("a", "b"), drift=Drift(reason="none"), changes=tuple(rows))
    whole = summary.markdown(compared)
    half = summary.markdown(compared, most=len(whole) // 2)
    assert len(half.encode()) <= len(whole) // 2
    assert "`lost`" in half
    left = 200 - half.count("`fine[")
    assert f"**{left} checks are left out here**" in half
    assert 0 < left < 200


def test_a_comparison_is_no_report(embcheck, project):
    """Compare says what it takes where it is given what it wrote itself."""
    embcheck("compare", "random:20x4", "random:20x4", "--property", "isotropy", "--json", "out.json")
    found = embcheck("compare", "out.json", "out.json")
    said = "'out.json' is a comparison; compare takes two specs or what check --json wrote"
    assert (found.code, said in found.err) == (4, True)
