"""The command: what it prints, writes and exits with."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from importlib import resources
from pathlib import Path

import html5lib
import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from msgspec import structs
from safetensors.torch import save_file

import embcheck
from embcheck import sources
from embcheck.baseline import file
from embcheck.reports import summary
from embcheck.reports.diagnosis import Diagnosis, schema
from embcheck.reports.html.diagnosis import render
from embcheck.reports.terminal.diagnosis import lines

ROWS, WIDTH = 600, 32


@pytest.fixture
def command(request):
    """The program, which a fixture of these tests calls as the package is called."""
    return request.getfixturevalue("embcheck")


@pytest.fixture
def tables(tmp_path):
    """A table, its copy with rows shifted from #300 on, a bfloat16 copy, and one of other numbers."""
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32))
    (tmp_path / "words.txt").write_text("".join(f"word{row}\n" for row in range(ROWS)))
    shifted = torch.cat([vectors[:300], torch.zeros(1, WIDTH), vectors[300:-1]])
    other = torch.from_numpy(np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32))
    paths = {}
    for name, values in (
        ("good", vectors),
        ("shifted", shifted),
        ("half", vectors.bfloat16().float()),
        ("other", other),
    ):
        np.save(tmp_path / f"{name}.npy", values.numpy())
        paths[name] = f"npy:{name}.npy,vocab=words.txt"
    return paths


def test_it_names_cause_evidence_and_remedy(command, tables, tmp_path):
    """Shifted rows are named with the row and the number, as text at 80 columns, JSON and page; the exit code is 1."""
    got = command(
        "diagnose",
        tables["good"],
        tables["shifted"],
        "--json",
        str(tmp_path / "d.json"),
        "--html",
        str(tmp_path / "d.html"),
    )
    assert got.code == 1, got.err
    assert "rows from #30" in got.out
    assert all(word in got.out for word in ("cause", "evidence", "what now"))
    assert max(map(len, got.out.splitlines())) <= 80
    document = json.loads((tmp_path / "d.json").read_text())
    assert document["schema"] == "embcheck-diagnosis/1"
    (cause,) = document["causes"]
    assert (cause["cause"], cause["parameters"]["by"]) == ("rows_shifted", 1)
    assert "rows_shifted" in (tmp_path / "d.html").read_text()


def test_a_diagnosis_is_shown_again_from_its_json(command, tables, tmp_path):
    """Screen, page and Markdown of diagnose are those that report makes of its JSON; card and compare refuse it."""
    outputs = ("--json", "d.json", "--html", "one.html", "--summary", "one.md")
    got = command("diagnose", tables["good"], tables["shifted"], *outputs)
    again = command("report", "d.json", "--html", "two.html", "--summary", "two.md")
    assert (got.code, again.code, again.out) == (1, 0, got.out)
    for suffix in ("html", "md"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    markdown = (tmp_path / "one.md").read_text()
    assert "| `rows_shifted` | rows from &#35;30" in markdown
    assert "Left over: 0 of the rows' spread" in markdown
    command("diagnose", tables["good"], tables["other"], "--summary", "other.md")
    assert "| `unrelated` | " in (tmp_path / "other.md").read_text()
    assert command("report", "d.json", "--card", "card.md").code == 4
    refused = command("compare", "d.json", "d.json")
    assert (refused.code, "is a diagnosis" in refused.err) == (4, True)


def test_harmless_causes_pass(command, tables, tmp_path):
    """Nothing, or rounding, exits with 0; so does what --allow names, and is called so; an unknown one with 4."""
    assert command("diagnose", tables["good"], tables["good"]).code == 0
    half = command("diagnose", tables["good"], tables["half"])
    assert (half.code, "bfloat16" in half.out) == (0, True)
    outputs = ("--html", "d.html", "--summary", "d.md", "--json", "d.json")
    allowed = command("diagnose", tables["good"], tables["shifted"], "--allow", "rows_shifted", *outputs)
    said = [" ".join(text.split()) for text in (allowed.out, _text_of(tmp_path / "d.html"))]
    said += [(tmp_path / "d.md").read_text().replace("`", ""), command("report", "d.json").out]
    assert allowed.code == 0
    assert all("rows_shifted (allowed)" in text for text in said)
    assert 'class="v refuted"' not in (tmp_path / "d.html").read_text()
    unknown = command("diagnose", tables["good"], tables["shifted"], "--allow", "bad_luck")
    assert unknown.code == 4
    assert "bad_luck" in unknown.err


def test_compare_says_what_happened(command, tables):
    """A comparison that fails names the likely cause, and the command that says more."""
    got = command("compare", tables["good"], tables["shifted"], "--max-moved", "0.1", "--property", "isotropy")
    assert got.code == 1
    assert "embcheck diagnose" in " ".join(got.out.split())
    assert "rows from #30" in " ".join(got.out.split())


def test_a_regression_names_the_cause(command, tables, tmp_path, monkeypatch):
    """Where the baseline's checkpoint can still be read, all that a run shows and writes says what happened since."""
    start = ("--property", "isotropy", "--baseline-dir", str(tmp_path / "baselines"))
    good, other = (tables[name] for name in ("good", "shifted"))
    vectors = np.load(tmp_path / "good.npy")
    np.save(tmp_path / "off.npy", vectors + np.float32(3))
    off = other.replace("shifted.npy", "off.npy")
    assert command("baseline", "update", f"m={good}", *start).code in {0, 1}
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    outputs = ("--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
    got = command("check", f"m={off}", *start, "--gate", "regressions", *outputs)
    assert got.code == 1
    (likely,) = [model["likely"] for model in json.loads((tmp_path / "r.json").read_text())["models"]]
    assert likely.startswith("looks like this: 3 is added to every value"), likely
    assert likely.endswith(f"See: embcheck diagnose {good} {off}"), likely
    top, _, problems = " ".join(got.out.split()).partition("what needs looking at:")
    assert likely in top
    assert "isotropy" in problems
    (annotation,) = [line for line in got.err.splitlines() if "looks like this" in line]
    assert annotation == f"::error title=m against its baseline::{likely}"
    for page in ("step.md", "r.html"):
        assert likely in _text_of(tmp_path / page).replace("`", ""), page
    assert f"`embcheck diagnose {good} {off}`" in (tmp_path / "step.md").read_text()


def test_a_cause_is_found_from_any_checkpoint_of_the_baseline(command, tables, tmp_path):
    """Where the entry that fails is of a checkpoint that is gone, another's of the baseline that is there tells why."""
    folder = ("--baseline-dir", str(tmp_path / "baselines"))
    vectors = np.load(tmp_path / "good.npy")
    np.save(tmp_path / "gone.npy", vectors * np.float32(1.5))
    gone, off = (tables["good"].replace("good.npy", name) for name in ("gone.npy", "off.npy"))
    assert command("baseline", "update", f"m={gone}", "--property", "isotropy", *folder).code in {0, 1}
    assert command("baseline", "update", f"m={tables['good']}", "--property", "normalization", *folder).code in {0, 1}
    (tmp_path / "gone.npy").unlink()
    np.save(tmp_path / "off.npy", vectors + np.float32(3))
    start = ("--property", "isotropy", "--property", "normalization", "--gate", "regressions", *folder)
    got = command("check", f"m={off}", *start)
    assert (got.code, f"embcheck diagnose {tables['good']} {off}" in " ".join(got.out.split())) == (1, True)


def test_an_undecided_change_names_the_cause(command, tables, tmp_path):
    """A change that is undecided fails, and what made it is said as of one that regressed, with what would decide."""
    folder = ("--baseline-dir", str(tmp_path / "baselines"))
    (tmp_path / "properties").mkdir(exist_ok=True)
    (tmp_path / "properties" / "open.py").write_text(OPEN)
    assert command("baseline", "update", f"m={tables['good']}", "--property", "open", *folder).code in {0, 1}
    np.save(tmp_path / "off.npy", np.load(tmp_path / "good.npy") + np.float32(3))
    off = tables["good"].replace("good.npy", "off.npy")
    got = command("check", f"m={off}", "--property", "open", "--gate", "regressions", *folder)
    printed = " ".join(got.out.split())
    assert (got.code, "UNDECIDED open" in printed, "looks like this: 3 is added to every value" in printed) == (
        1,
        True,
        True,
    )
    line = "undecided: its interval reaches beyond the margin; where that is meant: open = { margin = 0.69 } under "
    line += "[tool.embcheck.model.m.claims]"
    assert line in printed
    config = f"[tool.embcheck.model.m.claims]\nopen = {{ margin = 0.69 }}\n[tool.embcheck]\nmodels = ['m={off}']\n"
    (tmp_path / "pyproject.toml").write_text(config)
    assert command("check", "m", "--property", "open", "--gate", "regressions", *folder).code == 0


OPEN = '''
from embcheck import Estimate, above, claim

@claim(above(-99), margin=0.5, bad="up")
def open(table):
    """The first numbers of some rows."""
    values = [v * (i % 9) / 20 for i, v in enumerate(table.vectors[5:45, 0].double().tolist())]
    return Estimate.from_units(values, unit="rows", labels=[str(i) for i in range(40)])
'''


def _text_of(page):
    """What a reader of a page sees, on one line."""
    return " ".join("".join(html5lib.parse(page.read_text()).itertext()).split())


def test_a_checkpoint_that_was_overwritten_says_so(command, tables, tmp_path):
    """Where the baseline's rows stood in the very file that holds others now, the way to a cause is said."""
    start = ("--property", "isotropy", "--baseline-dir", str(tmp_path / "baselines"))
    assert command("baseline", "update", f"m={tables['good']}", *start).code in {0, 1}
    np.save(tmp_path / "good.npy", np.load(tmp_path / "good.npy") + np.float32(3))
    got = command("check", f"m={tables['good']}", *start, "--gate", "regressions")
    said = f"{tables['good']} holds other weights than those of its baseline, so what made them can't be told from it"
    assert (got.code, said in " ".join(got.out.split())) == (1, True), got.out
    assert f"embcheck diagnose OLD {tables['good']}" in " ".join(got.out.split())


@pytest.mark.parametrize("workers", [["-p", "no:xdist"], pytest.param(["-n2"], marks=pytest.mark.slow)])
def test_under_pytest_a_regression_names_the_cause(command, tables, tmp_path, monkeypatch, workers):
    """Under pytest the section of embcheck, JSON and JUnit say it too, in one process and with workers, found once."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    start = ("--property", "isotropy", "--baseline-dir", "baselines")
    np.save(tmp_path / "off.npy", np.load(tmp_path / "good.npy") + np.float32(3))
    assert command("baseline", "update", f"m={tables['good']}", *start).code in {0, 1}
    model = "--embcheck-model=m=npy:off.npy,vocab=words.txt"
    asked = (model, "--embcheck-property=isotropy", "--embcheck-baseline-dir=baselines", "--embcheck-json=r.json")
    line = (sys.executable, "-m", "pytest", "--pyargs", "embcheck.properties", *asked, "--junit-xml=x.xml", *workers)
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    (likely,) = [model["likely"] for model in json.loads((tmp_path / "r.json").read_text())["models"]]
    assert likely.startswith("looks like this: 3 is added to every value"), likely
    assert likely in " ".join(done.stdout.partition("= embcheck =")[2].split())
    suite = ET.parse(tmp_path / "x.xml").find("testsuite")  # noqa: S314 - our own file
    assert {p.get("name"): p.get("value") for p in suite.find("properties")} == {"embcheck m": likely}


def test_a_diagnosis_that_breaks_fails_no_run(command, tables, tmp_path, monkeypatch):
    """Where the search for a cause raises, the report is as ever, and says that there is none and why."""

    def broken(*_args, **_more):
        raise ZeroDivisionError("nothing to divide")

    monkeypatch.setattr("embcheck.diagnosis.diagnose.of_tables", broken)
    start = ("--property", "isotropy", "--baseline-dir", str(tmp_path / "baselines"))
    np.save(tmp_path / "off.npy", np.load(tmp_path / "good.npy") + np.float32(3))
    assert command("baseline", "update", f"m={tables['good']}", *start).code in {0, 1}
    got = command("check", "m=npy:off.npy,vocab=words.txt", *start, "--gate", "regressions")
    assert (got.code, "looks like" in got.out) == (1, False)
    assert "REGRESSED" in got.out
    assert "could not be worked out (ZeroDivisionError: nothing to divide)" in " ".join(got.out.split())


def test_a_baseline_opens_no_connection(command, tables, tmp_path, monkeypatch):
    """A baseline that names a server as its checkpoint, as anyone's could, does not have it asked."""
    start = ("--property", "isotropy", "--baseline-dir", str(tmp_path / "baselines"))
    assert command("baseline", "update", f"m={tables['good']}", *start).code in {0, 1}
    np.save(tmp_path / "off.npy", np.load(tmp_path / "good.npy") + np.float32(3))
    read, load, loaded = file.load, sources.load, []

    def elsewhere(folder, alias):
        known = read(folder, alias)
        moved = {
            key: structs.replace(
                entry,
                checkpoint=structs.replace(entry.checkpoint, spec="api:http://127.0.0.1:9,model=m,words=words.txt"),
            )
            for key, entry in known.entries.items()
        }
        return replace(known, entries=moved)

    def noted(spec, **options):
        loaded.append(spec.scheme)
        return load(spec, **options)

    monkeypatch.setattr(file, "load", elsewhere)
    monkeypatch.setattr(sources, "load", noted)
    assert command("check", "m=npy:off.npy,vocab=words.txt", *start, "--gate", "regressions").code == 1
    assert loaded == ["npy"]


def test_the_schema_ships():
    """The schema file is the one that the types give."""
    shipped = resources.files("embcheck.reports").joinpath("embcheck-diagnosis-1.schema.json").read_text()
    assert json.loads(shipped) == schema()


def test_hostile_tokens_stay_inert(tmp_path):
    """Tokens with markup or escapes do nothing on the terminal, the page or in Markdown."""
    hostile = ["<script>alert(1)</script>", "\x1b[31mred", "a\nb", "\u202egnp"]
    vectors = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    words = [*hostile, *(f"word{row}" for row in range(len(hostile), ROWS))]
    damaged = vectors.copy()
    damaged[:4] = 0
    tables = [embcheck.EmbeddingTable.from_arrays(v, words) for v in (vectors, damaged)]
    diagnosis = embcheck.diagnose(*tables)
    assert diagnosis.causes[0].rows == 4
    text = "\n".join(line.text for line in lines(diagnosis))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>alert" not in render(diagnosis)
    summary.write(diagnosis, tmp_path / "d.md")
    assert "<script>" not in MarkdownIt("commonmark").enable("table").render((tmp_path / "d.md").read_text())


def test_python_takes_tables_and_refuses_one_parent():
    """The function gives the same values as the command, and says how many parents a merge has."""
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((ROWS, WIDTH)).astype(np.float32) for _ in range(2))
    words = [f"word{row}" for row in range(ROWS)]
    parents = [embcheck.EmbeddingTable.from_arrays(v, words) for v in (first, second)]
    merged = embcheck.EmbeddingTable.from_arrays(first + np.float32(0.25) * (second - first), words)
    diagnosis = embcheck.diagnose(parents[0], merged, parents=parents)
    assert isinstance(diagnosis, Diagnosis)
    assert diagnosis.cause == "merged"
    assert diagnosis.causes[0].parameters["share"] == pytest.approx(0.25, abs=1e-4)
    with pytest.raises(embcheck.EmbcheckError, match="two parents, got 1"):
        embcheck.diagnose(parents[0], merged, parents=parents[:1])


def _model(folder, *, tied, head=None):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=ROWS, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=8, tie_word_embeddings=tied)
    model = GPT2LMHeadModel(config)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if tied and head is None:
        del state["lm_head.weight"]
    elif head is not None:
        state["lm_head.weight"] = head
    folder.mkdir()
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors")
    (folder / "vocab.json").write_text(json.dumps({f"word{row}": row for row in range(ROWS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return str(folder)


def test_the_other_matrix_and_an_overwritten_head_are_named(tmp_path):
    """A head that came untied is named, and so is an output matrix where the input should be."""
    tied = _model(tmp_path / "tied", tied=True)
    untied = _model(tmp_path / "untied", tied=False, head=torch.randn(ROWS, WIDTH))
    assert embcheck.diagnose(tied, untied).cause == "head_overwritten"
    output = embcheck.load(untied, matrix="output")
    assert embcheck.diagnose(untied, output).cause == "other_matrix"
    same_input = _model(tmp_path / "again", tied=True)
    assert embcheck.diagnose(untied, same_input, matrix="output").cause == "other_matrix"


def test_the_job_summary_has_the_diagnosis(command, tables, tmp_path, monkeypatch):
    """Where GitHub Actions names the summary of a job, cause and remedy are appended to what stands there."""
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert command("diagnose", tables["good"], tables["shifted"], "--summary", "out.md").code == 1
    assert step.read_text() == f"before\n{(tmp_path / 'out.md').read_text()}\n"
    assert "rows_shifted" in step.read_text()
