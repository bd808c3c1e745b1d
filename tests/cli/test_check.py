from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from embcheck.reports.json_file import schema

NOISE = "random:300x16"
ROOT = Path(__file__).parents[2]


def toys(*names: str) -> list[str]:
    return [part for name in names for part in ("--property", f"toy_{name}")]


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["holds"], 0),
        (["holds", "skipped"], 0),
        (["holds", "refuted"], 1),
        (["undecided"], 1),
        (["skipped"], 5),
    ],
)
def test_exit_code_says_what_was_found(embcheck, names, code):
    """0 where all holds, 1 where something fails, 5 where nothing could be measured."""
    assert embcheck("check", NOISE, *toys(*names)).code == code


def test_skipped_check_fails_in_ci(embcheck, monkeypatch):
    """In continuous integration a check that could not be made is a failure."""
    monkeypatch.setenv("CI", "true")
    assert embcheck("check", NOISE, *toys("holds", "skipped")).code == 1


def test_report_goes_to_stdout(embcheck):
    """The report is all of stdout, and stderr stays empty."""
    found = embcheck("check", NOISE, *toys("holds"))
    assert found.err == ""
    assert "holds         toy_holds" in found.out
    assert found.out.splitlines()[-1] == "1 hold"


def test_failure_shows_claim_estimate_bound_seed_and_worst_token(embcheck):
    """A check that fails says by how much, against what, and because of which tokens, with escapes made visible."""
    out = embcheck("check", NOISE, *toys("refuted"), "--seed", "3").out
    for part in ("REFUTED", "above 5", "n = 4 toy units", "'evil\\x1b[31m\\n' #7 0.25", "far above one"):
        assert part in out
    assert "seed 3" in embcheck("check", NOISE, *toys("refuted"), "--seed", "3", "--show", "all").out


def test_model_option_words_are_positional(embcheck):
    """Several specs are several models, each under its alias."""
    out = embcheck("check", "a=random:30x4", "b=random:40x4", *toys("holds")).out
    assert "a: 30 x 4" in out
    assert "b: 40 x 4" in out


def test_property_selects_by_parameters(embcheck):
    """A glob with brackets selects one case of a property."""
    out = embcheck("check", NOISE, "--property", "toy_sizes[2]").out
    assert "toy_sizes[2]" in out
    assert "toy_sizes[1]" not in out


def test_properties_adds_files(embcheck, project):
    """--properties reads a file from anywhere."""
    more = project / "more.py"
    more.write_text((project / "properties" / "toys.py").read_text().replace("toy_", "extra_"))
    assert embcheck("check", NOISE, "--properties", str(more), "--property", "extra_holds").code == 0


def test_json_is_the_report_and_keeps_to_the_schema(embcheck, project):
    """--json writes a document that the shipped schema accepts, whatever the verdicts."""
    path = project / "out.json"
    embcheck("check", NOISE, "--property", "toy_*", "--control", "--json", str(path))
    document = json.loads(path.read_text())
    jsonschema.Draft202012Validator(schema()).validate(document)
    verdicts = {result["property"]: result["verdict"] for result in document["models"][0]["results"]}
    assert verdicts == {
        "toy_holds": "holds",
        "toy_refuted": "refuted",
        "toy_sizes": "holds",
        "toy_skipped": "skipped",
        "toy_undecided": "inconclusive",
    }


def test_equal_runs_give_equal_bytes(embcheck, project):
    """Two runs with one seed write the same document, timing aside."""
    texts = []
    for name in ("a.json", "b.json"):
        embcheck("check", NOISE, "--property", "toy_*", "--json", name)
        document = json.loads((project / name).read_text())
        del document["timing"]
        texts.append(json.dumps(document))
    assert texts[0] == texts[1]


def test_control_fails_what_holds_on_noise(embcheck):
    """--control turns a property that holds on random tables into a failure that says it is vacuous."""
    found = embcheck("check", NOISE, "--property", "toy_sizes[1]", "--control")
    assert found.code == 1
    assert "vacuous: it also holds on 20 of 20 random tables" in " ".join(found.out.split())


def test_confidence_widens_the_interval(embcheck, project):
    """--confidence sets the level of the intervals."""
    embcheck("check", NOISE, *toys("undecided"), "--confidence", "0.99", "--json", "out.json")
    estimate = json.loads((project / "out.json").read_text())["models"][0]["results"][0]["estimate"]
    assert estimate["confidence_level"] == 0.99


def test_probes_population_and_dtype_reach_the_measurement(embcheck, project):
    """--probes, --population and --dtype change what is measured."""
    options = ["--probes", "50", "--population", "all", "--dtype", "float16", "--property", "positive_cosine_bias"]
    embcheck("check", NOISE, *options, "--json", "out.json")
    model = json.loads((project / "out.json").read_text())["models"][0]
    assert model["population"]["kind"] == "all"
    assert model["results"][0]["estimate"]["n"] == 50
    embcheck("check", NOISE, *options[:-2], *toys("holds"), "--probes", "all", "--device", "cpu")


def test_auto_probes_stop_where_the_claim_is_decided(embcheck, project):
    """With --probes auto the estimate says how many probes its claim took; no other one decides it."""
    noise = "random:9000x64"
    embcheck("check", noise, "--probes", "auto", "--property", "positive_cosine_bias", "--json", "out.json")
    result = json.loads((project / "out.json").read_text())["models"][0]["results"][0]
    assert result["verdict"] in {"refuted", "inconclusive"}
    assert result["estimate"]["n"] in {200, 400, 800, 1600, 3200, 4000}
    assert result["estimate"]["method"].startswith("betting confidence sequence, without replacement, stopped after ")


@pytest.mark.parametrize(
    ("show", "row", "detail"),
    [("none", False, False), ("fail", False, False), ("rows", True, False), ("all", True, True)],
)
def test_show_chooses_the_details(embcheck, show, row, detail):
    """--show none and fail say nothing of what holds but their number, rows one row, all its details too."""
    out = embcheck("check", NOISE, *toys("holds"), "--show", show).out
    assert ("toy_holds" in out) == row
    assert ("says: Everything is near one." in out) == detail


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_may_be_forced(embcheck, monkeypatch, variables, is_coloured):
    """FORCE_COLOR colours what no terminal reads; NO_COLOR is stronger."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[32m" in embcheck("check", NOISE, *toys("holds")).out) == is_coloured


def test_nothing_is_said_to_hold_before_the_family_is_judged(embcheck):
    """With --family-wise no result comes before the last, since it could still become undecided."""
    early = embcheck("check", NOISE, *toys("holds", "refuted")).out
    late = embcheck("check", NOISE, *toys("holds", "refuted"), "--family-wise").out
    assert early.index("toy_holds") < early.index("what needs looking at:")
    assert late.index("toy_refuted") < late.index("toy_holds")


def test_several_models_are_parted_and_a_table_follows(embcheck):
    """Each model's results come under its own header; at the end properties stand by models."""
    lines = embcheck("check", "a=random:30x4", "b=random:40x4", *toys("holds")).out.splitlines()
    assert lines == [
        "a: 30 x 4 float32  population known: 30 rows",
        "holds         toy_holds  1 [0.8701, 1.13]  n = 4 toy units  above 0.5",
        "",
        "b: 40 x 4 float32  population known: 40 rows",
        "holds         toy_holds  1 [0.8701, 1.13]  n = 4 toy units  above 0.5",
        "",
        "                                           a               b",
        "toy_holds                                  1               1",
        "",
        "2 hold",
    ]


def test_without_model_checks_demo_and_says_so(embcheck, monkeypatch):
    """With no model anywhere the demo model is checked, and a notice on stderr says so."""
    monkeypatch.setattr("embcheck.run.session.sources.check", lambda _spec: None)
    monkeypatch.setattr("embcheck.sources.load", _tiny)
    found = embcheck("check", *toys("holds"))
    assert found.code == 0
    assert "no model given: checking demo" in found.err
    assert found.out.startswith("demo: 3 x 2")


def test_without_model_in_ci_is_an_error(embcheck, monkeypatch):
    """In continuous integration no model is assumed."""
    monkeypatch.setenv("CI", "1")
    found = embcheck("check", *toys("holds"))
    assert found.code == 4
    assert found.err.startswith("embcheck: error: no model given")


def test_configured_models_and_exceptions_apply(embcheck, project):
    """Models of [tool.embcheck] are checked, and a known exception passes while it does not hold."""
    _configure(project, 'models = ["noise=random:30x4"]\nproperty = ["toy_refuted"]', ["toy_refuted"])
    found = embcheck("check")
    assert found.code == 0
    assert "toy_refuted (expected)" in found.out
    assert found.out.splitlines()[-1] == "1 known exception"


def test_exception_that_holds_is_a_failure(embcheck, project):
    """A known exception that starts to hold fails, so that the list stays true."""
    _configure(project, 'models = ["noise=random:30x4"]\nproperty = ["toy_holds"]', ["toy_holds"])
    found = embcheck("check")
    assert found.code == 1
    assert "remove the exception" in " ".join(found.out.split())


def test_one_of_several_models_failing_to_load_leaves_the_others(embcheck, project):
    """A model that fails to load gives errors for its checks; the others run, and the exit code is 4."""
    (project / "bad.vec").write_text("2 2\na 1 0\nb 1\n")
    found = embcheck("check", "bad=fasttext:bad.vec", "good=random:30x4", *toys("holds"), "--json", "out.json")
    assert found.code == 4
    assert found.err.startswith("embcheck: error: ")
    assert "bad: not loaded" in found.out
    assert found.out.splitlines()[-1] == "1 of 2 checks fails: 1 hold, 1 error"
    document = json.loads((project / "out.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(document)


def test_module_runs_as_the_program(project):
    """``python -m embcheck`` is the program, in a process of its own."""
    command = [sys.executable, "-m", "embcheck", "check", "random:30x4", "--property", "toy_holds"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == "1 hold"


def test_a_reader_that_goes_away_is_no_error(project):
    """Closing the pipe early, as head does, leaves no traceback and the true exit code."""
    command = [sys.executable, "-m", "embcheck", "check", "random:30x4", "--property", "toy_refuted", "--show", "all"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert errors == b""


def test_ascii_terminal_gets_ascii(project):
    """On a terminal without Unicode, tokens are escaped."""
    toys_file = project / "properties" / "toys.py"
    toys_file.write_text(toys_file.read_text().replace("evil", "b\u00f6se"), encoding="utf-8")
    command = [sys.executable, "-m", "embcheck", "check", "random:30x4", "--property", "toy_refuted"]
    environment = {**_environment(), "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert b"'b\\xf6se" in found.stdout


def _configure(project, text, exceptions):
    table = f"[tool.embcheck]\n{text}\n[tool.embcheck.model.noise]\nexceptions = {exceptions!r}\n"
    (project / "pyproject.toml").write_text(table)


def _tiny(_spec, **_options):
    from embcheck import EmbeddingTable

    return EmbeddingTable.from_arrays([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], ["a", "b", "c"])


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}
