"""The baseline file: whole or not at all, one model's own, and nothing that was tampered with."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest

from embcheck import files
from embcheck.baseline import file
from embcheck.baseline.file import Checkpoint, Entry
from embcheck.errors import EmbcheckError
from embcheck.estimate import Part, Snapshot

WHERE = Checkpoint("demo", None, "a" * 64, "b" * 64, (10, 2), "float32", "known", ((0, 9),), 0, "0.1.0")


def entry(name: str, value: float = 0.5) -> Entry:
    part = Part(("a\n\ud800", "b"), (value, value), bounds=(0.0, 1.0))
    snapshot = Snapshot(value, 0.4, 0.6, 0.95, False, "share", "tokens", 2, (part,))  # noqa: FBT003 - of a struct
    return Entry(id=name, params={"n": 1}, version=1, checkpoint=WHERE, snapshot=snapshot, reason=None)


def add(folder, name, alias="demo"):
    return file.rewrite(folder, alias, lambda old: {**old, entry(name).key: entry(name)})


def test_what_is_written_is_read(tmp_path):
    """Entries come back equal, lone surrogates and a value that is none included, and the text is pure ASCII."""
    nothing = Entry(id="two", params={}, version=1, checkpoint=WHERE, snapshot=None, reason="no \ud800 words")
    add(tmp_path, "one")
    file.rewrite(tmp_path, "demo", lambda old: {**old, nothing.key: nothing})
    file.path_of(tmp_path, "demo").read_text(encoding="ascii")
    assert file.load(tmp_path, "demo").entries == {entry("one").key: entry("one"), nothing.key: nothing}


def test_a_reviewer_sees_the_value_beside_the_check(tmp_path):
    """An entry's first line has key, value and interval, the units stand on lines of their own, and so does where."""
    add(tmp_path, "one")
    lines = file.path_of(tmp_path, "demo").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(' "one '))
    shown, units, where = lines[at : at + 3]
    assert shown.startswith(' "one {\\"n\\": 1}": {"estimate": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 2, ')
    assert "labels" not in shown
    assert units.startswith('   {"bounds": [0.0, 1.0], "labels": [')
    assert where.startswith('  "checkpoint": "')


def test_a_file_with_a_line_an_entry_is_read_and_its_entries_stay(tmp_path):
    """The layout is no part of the contract: a file as the first version laid it out gives the same entries."""
    add(tmp_path, "one")
    path = file.path_of(tmp_path, "demo")
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, sort_keys=True))
    assert file.load(tmp_path, "demo").entries == {entry("one").key: entry("one")}
    assert document == json.loads(path.read_text())


def test_file_keeps_to_the_schema(tmp_path):
    """The shipped JSON Schema accepts what is written, and refuses a field too many."""
    add(tmp_path, "one")
    document = json.loads(file.path_of(tmp_path, "demo").read_text())
    jsonschema.validate(document, file.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "more": 1}, file.schema())


def test_absent_file_is_no_baseline(tmp_path):
    """A model without a file has no baseline, which is no error by itself."""
    assert file.load(tmp_path / "nowhere", "demo") is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:-40], "cut short"),
        (lambda _: "", "cut short"),
        (lambda text: text.replace("0.4", "0.3"), "edited by hand"),
        (lambda text: text.replace("baseline/1", "baseline/9"), "schema 'embcheck-baseline/9'"),
        (lambda text: text.replace("demo", "d\u00e9mo", 1), "no text that embcheck wrote"),
        (lambda _: "[]", "schema 'None'"),
    ],
)
def test_damaged_file_is_one_line(tmp_path, damage, says):
    """A file that was cut or edited is refused with one line that names it and the way out."""
    add(tmp_path, "one")
    path = file.path_of(tmp_path, "demo")
    path.write_text(damage(path.read_text()), encoding="utf-8")
    with pytest.raises(EmbcheckError, match=says) as caught:
        file.load(tmp_path, "demo")
    assert str(path) in str(caught.value)
    assert "embcheck baseline update" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_of_another_model_is_refused(tmp_path):
    """A baseline under another model's name is not taken for its own."""
    add(tmp_path, "one")
    file.path_of(tmp_path, "demo").rename(tmp_path / "other.json")
    with pytest.raises(EmbcheckError, match="is of the model 'demo'"):
        file.load(tmp_path, "other")


def test_updating_one_model_leaves_the_others(tmp_path):
    """Another model's file keeps its bytes and its time."""
    add(tmp_path, "one", "a")
    before = file.path_of(tmp_path, "a").stat()
    add(tmp_path, "one", "b")
    assert file.path_of(tmp_path, "a").stat().st_mtime_ns == before.st_mtime_ns


def test_concurrent_updates_lose_nothing(tmp_path):
    """Of many updates at once, every entry is there in the end."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: add(tmp_path, f"p{i}"), range(24)))
    assert len(file.load(tmp_path, "demo").entries) == 24


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_full_or_read_only_disk_leaves_the_old_file(tmp_path, monkeypatch, fault):
    """Where writing fails, the error is one line, the old file is as it was, and no temporary file stays."""
    add(tmp_path, "one")
    before = file.path_of(tmp_path, "demo").read_bytes()

    def refuse(_descriptor):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(EmbcheckError, match=os.strerror(fault)) as caught:
        add(tmp_path, "two")
    assert "\n" not in str(caught.value)
    assert file.path_of(tmp_path, "demo").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from embcheck import files
from test_file import add
def wait(_descriptor):
    print("writing", flush=True)
    import time; time.sleep(60)
files.os.fsync = wait
add(Path({folder!r}), "two")
"""


def test_killed_update_leaves_the_old_file(tmp_path):
    """Kill -9 in the middle of writing leaves the old file, and the next update is free to go on and cleans up."""
    add(tmp_path, "one")
    before = file.path_of(tmp_path, "demo").read_bytes()
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(tmp_path))  # noqa: PTH120
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert file.path_of(tmp_path, "demo").read_bytes() == before
    started = time.monotonic()
    add(tmp_path, "three")
    assert time.monotonic() - started < 10
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]
    assert len(file.load(tmp_path, "demo").entries) == 2
