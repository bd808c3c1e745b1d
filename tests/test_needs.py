"""What a model cannot have is not asked of it, and is no failure."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import embcheck
from embcheck import lexicons, needs
from embcheck.baseline.gate import Gate
from embcheck.baseline.tokens import entry_of
from embcheck.checks.evaluate import Check, checks_of, evaluate, judge
from embcheck.claims import Verdict, above, claim
from embcheck.cli import main
from embcheck.estimate import Estimate
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import NamedRows, RowNumbers

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "cat", "cats", "dog", "dogs", "sun", "suns")


def table_of(words):
    return EmbeddingTable.from_arrays(np.random.default_rng(0).standard_normal((len(words), 4)), list(words))


def asked(*what):
    """A property with these needs, and what it was measured on."""
    ran = []

    @claim(above(0), needs=what, margin=0.1)
    def asking(table):
        """Says something."""
        ran.append(table)
        return Estimate.exact(1.0)

    return SimpleNamespace(check=Check(asking), ran=ran)


PLURALS = lexicons.relation("plurals", [("cat", "cats"), ("dog", "dogs"), ("sun", "suns")])
NUMBERS = lexicons.sequences("numbers")[0]
ANALOGY = lexicons.Analogy("of cats", "cats", "cat", "dog", "dogs")
GROUPS = lexicons.Categories(
    "kinds",
    "Kinds.",
    (
        lexicons.Category("numbers", WORDS[:7]),
        lexicons.Category("animals", ("cat", "dog", "cats", "dogs")),
    ),
)


@pytest.mark.parametrize(
    ("need", "parameters", "short", "reason"),
    [
        (needs.pairs("relation"), {"relation": PLURALS}, ["suns"], "2 of 3 plurals pairs: no suns"),
        (
            needs.words("sequence", 7),
            {"sequence": NUMBERS},
            ["two"],
            f"6 of {len(NUMBERS.words)} numbers words: no two, eight, nine and 1 more",
        ),
        (needs.words("analogy"), {"analogy": ANALOGY}, ["cats"], "3 of 4 of cats words: no cats"),
        (needs.groups("categories"), {"categories": GROUPS}, ["cat", "dog"], "1 of 2 kinds categories"),
        (needs.token_class(at_least=1), {"token_class": "byte"}, None, "0 byte tokens"),
        (needs.layers(), {}, None, "no layers"),
    ],
)
def test_a_need_says_what_is_lacking(need, parameters, short, reason):
    """With all that is needed nothing is said; with one thing less, what there is of how much."""
    if short is not None:
        assert need(table_of(WORDS), parameters) is None
    lacking = [word for word in WORDS if word not in (short or ())]
    assert need(table_of(lacking), parameters) == reason


def test_one_category_needs_words_of_its_own_and_others():
    """The queries' category and ten words and one beside it are counted apart."""
    need = needs.groups("categories", only="category")
    assert need(table_of(WORDS), {"categories": GROUPS, "category": "numbers"}) == "4 other words"
    assert need(table_of(WORDS[:7]), {"categories": GROUPS, "category": "animals"}) == "0 animals words"


def test_what_is_not_applicable_is_not_measured_and_passes_in_ci(monkeypatch):
    """The property isn't called, the verdict says so, and continuous integration is no worse for it."""
    monkeypatch.setenv("CI", "true")
    case = asked(needs.layers())
    result = evaluate(case.check, table_of(WORDS), Settings())
    assert (result.verdict, result.reason, result.passed, case.ran) == ("not_applicable", "no layers", True, [])
    assert result.record.outcome == "pass"
    assert not judge(Verdict.SKIPPED)
    assert evaluate(asked(lambda table, parameters: None).check, table_of(WORDS), Settings()).verdict == "holds"


ABOUT_ROWS = {
    "background_similarity", "compressibility", "duplicate_rows", "effective_dimension", "hubness", "intact_rows",
    "isotropy", "matrix_alignment", "metric_agreement", "neighbor_overlap", "normalization", "positive_cosine_bias",
    "random_baseline", "reproduces_published_figures", "rogue_dimensions", "tied_output", "token_neuron_middle_men",
    "token_neuron_profiles",
}  # fmt: skip


def test_rows_without_words_are_asked_what_is_no_matter_of_words():
    """Each shipped property either is about any rows, or is not applicable to rows that are no words, and says why."""
    from embcheck.checks import collect

    table = replace(table_of(WORDS), vocabulary=NamedRows(RowNumbers(len(WORDS))))
    checks = checks_of(collect.functions())
    lacking = {check.declaration.id: check.declaration.lacking([table], check.params) for check in checks}
    of_words = {name for name, why in lacking.items() if why == "its rows have no words"}
    assert of_words == set(lacking) - ABOUT_ROWS


def test_a_table_without_a_population_is_skipped_whatever_is_needed():
    """A need that can't be told is no need that is lacking."""
    result = evaluate(asked(lambda table, _: str(len(table.population))).check, table_of(["one"]), Settings())
    assert result.verdict is Verdict.SKIPPED


def test_what_applied_to_the_baseline_and_no_longer_does_fails():
    """A baseline with a value makes its absence a failure; without one nothing is kept, and nothing fails."""
    settings, table = Settings(), table_of(WORDS)
    before = evaluate(asked().check, table, settings)
    now = evaluate(asked(needs.layers()).check, table, settings)
    entry, _ = entry_of(before, table, settings)
    gated = Gate.in_memory("m", [entry]).apply("m", now, table, settings)
    assert (gated.change.state, gated.passed) == ("stale", False)
    assert "no layers" in gated.change.reason
    assert entry_of(gated, table, settings)[0].snapshot is None  # an update adopts it
    assert entry_of(now, table, settings) is None
    assert Gate.in_memory("m", []).apply("m", now, table, settings).passed


def test_a_report_names_them_in_one_line_under_80_columns(tmp_path, monkeypatch, capsys):
    """The terminal has no row for each, and one line that counts them by what is lacking."""
    path = tmp_path / "r.json"
    monkeypatch.chdir(tmp_path)
    assert main(["check", "random:400x8", "--json", str(path), "--property", "token_neuron_*"]) == 5
    output = capsys.readouterr().out
    aside = [line for line in output.splitlines() if line.startswith("n/a: ")]
    assert aside == ["n/a: token_neuron_middle_men x2, token_neuron_profiles x3 (no layers)"]
    assert "5 n/a" in output
    verdicts = {r["verdict"] for r in json.loads(path.read_text())["models"][0]["results"]}
    assert verdicts == {"not_applicable"}


def test_init_writes_no_exception_for_what_cannot_be(tmp_path, monkeypatch):
    """Exceptions are claims that do not hold, not claims that are about other models."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "m=random:400x8"]) == 0
    text = (tmp_path / "pyproject.toml").read_text()
    assert "positive_cosine_bias" in text
    assert "token_neuron" not in text
    assert "[byte]" not in text


def test_every_shipped_list_is_a_need():
    """A property whose parameter is a list of words says how many of them it needs."""
    from embcheck.checks import collect

    for check in checks_of(collect.functions()):
        if any(hasattr(value, "words") for value in check.params.values()):
            assert check.declaration.needs, check.label


def test_a_run_from_python_says_not_applicable():
    """The verdict is one of the public enumeration."""
    run = embcheck.check("random:400x8", properties="token_neuron_profiles*")
    assert {result.verdict for result in run.results} == {embcheck.Verdict.NOT_APPLICABLE}
