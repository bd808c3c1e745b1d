"""Updates by several processes, and by one that the system stops: nothing is lost, nothing is half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TOYS = '''
from embcheck import Estimate, above, claim

@claim(above(0), margin=0.5, word=["one", "two", "three", "four"])
def toy(table, word):
    """A number."""
    units = [float(len(word) + i) for i in range(400)]
    return Estimate.from_units(units, unit="toys", labels=[f"{word} {i}" for i in range(400)], name="toy")
'''
CONFIG = """
[tool.embcheck]
models = ["m=random:30x4", "n=random:40x4"]
property = ["toy"]
"""
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]  # a root that permissions hold for


@pytest.fixture
def project(tmp_path):
    """A project of two models and four checks."""
    (tmp_path / "properties").mkdir()
    (tmp_path / "properties" / "toys.py").write_text(TOYS)
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    return tmp_path


def start(project, *command, **how):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBCHECK_")} | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
    )


def words(project, alias):
    document = json.loads((project / "embcheck-baselines" / f"{alias}.json").read_text())
    return sorted(entry["params"]["word"] for entry in document["entries"].values())


def codes(processes):
    return [process.communicate()[1] or process.returncode for process in processes]


def test_two_pytest_runs_with_workers_lose_nothing(project):
    """Two runs with two workers each write other entries of the same two files at once: all are there."""
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n2", "--embcheck-update=new", "properties"]
    assert codes([start(project, *run, "-k", names) for names in ("one or two", "three or four")]) == [0, 0]
    assert words(project, "m") == words(project, "n") == ["four", "one", "three", "two"]


def test_two_updates_lose_nothing(project):
    """Two commands update one model with other checks, and a third updates another model, all at once."""
    run = [sys.executable, "-m", "embcheck", "baseline", "update", "--show", "none"]
    asked = [("m", "toy[one]"), ("m", "toy[two]"), ("n", "toy")]
    finished = [process.communicate() for process in [start(project, *run, a, "--property", p) for a, p in asked]]
    counts = [re.findall(r": (\d+) new", err) for _, err in finished]  # its own, whatever the other has written
    assert counts == [["1"], ["1"], ["4"]]
    assert (words(project, "m"), len(words(project, "n"))) == (["one", "two"], 4)


def limited(folder):
    """Ways in which the system refuses to write, and what it says."""
    capable = os.geteuid() != 0 or shutil.which("setpriv")
    yield "full", ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh"], "File too large"
    if capable:
        yield "read-only", UNPRIVILEGED if os.geteuid() == 0 else [], "Permission denied"


def test_system_that_refuses_leaves_the_old_file(project):
    """A disk without room, or a folder that can't be written, is one line and exit code 4; the old file stays."""
    run = [sys.executable, "-m", "embcheck", "baseline", "update", "m", "--show", "none"]
    first = start(project, *run)
    assert codes([first]) == [f"embcheck: m: 4 new in {project / 'embcheck-baselines/m.json'}\n"]
    folder = project / "embcheck-baselines"
    before = (folder / "m.json").read_bytes()
    assert len(before) > 16 * 1024
    (project / "properties" / "toys.py").write_text(TOYS.replace("(word) + i", "(word) - i"))
    for how, prefix, says in limited(folder):
        folder.chmod(0o555 if how == "read-only" else 0o755)
        _, err = (process := start(project, *prefix, *run, "--update", "new,changed")).communicate()
        folder.chmod(0o755)
        assert (process.returncode, len(err.splitlines())) == (4, 1), (how, err)
        assert says in err
        assert (folder / "m.json").read_bytes() == before
        assert [path.name for path in folder.iterdir()] == ["m.json"]
