import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # import-mode importlib finds no helpers beside a test

FULL = bool(os.environ.get("TEST_EMBCHECK_FULL"))
SOME_GAINS = {"analogy_gain[plural]", "analogy_gain[gender]"}
FEWER = {  # draws of nulls, and sizes of details: no baseline keeps either
    "measures.cosines.background_cosine.PROBES": 10,
    "measures.cosines.metric_agreement.TOP_PROBES": 10,
    "measures.cosines.non_negative_share.DETAIL_PROBES": 50,
    "measures.geometry.neighbor_count_skewness.DRAWS": 99,
    "measures.pairs.analogy_gain.COST": 0,  # 40 pairs
    "measures.pairs.related_pair_auc.BACKGROUND": 200,
    "measures.pairs.offset_consistency.SHUFFLES": 2,
    "measures.words.axis_accuracy.RANDOM_AXES": 199,
    "stats.permutations.PERMUTATIONS": 199,
}


@pytest.fixture(scope="module")
def quick():
    """Measures that draw and report less than by default: what is compared, and what is claimed, stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FEWER.items():
            patch.setattr(f"embcheck.{name}", value)
        yield


@pytest.fixture(scope="module")
def table():
    """The demo model."""
    import checkpoints

    return checkpoints.original()


@pytest.fixture(scope="module")
def small(table):
    """A tenth of the demo model's tokens, with all that the word lists ask for."""
    import numpy as np

    from embcheck import lexicons

    words = [row for row in table.rows(lexicons.words()) if row is not None]
    return table.subset(np.unique(np.concatenate([table.probes(2_000), np.array(words)])))


@pytest.fixture(scope="module")
def compared():
    """The checks that state a margin; most gains, which take half of the time, only where TEST_EMBCHECK_FULL is set."""
    from embcheck.checks import collect
    from embcheck.checks.evaluate import checks_of

    return [
        check
        for check in checks_of(collect.functions())
        if check.declaration.margin is not None
        and (FULL or check.declaration.id not in {"analogy_gain", "random_baseline"} or check.label in SOME_GAINS)
    ]


@pytest.fixture(scope="module")
def take_in(tmp_path_factory, compared, quick):
    """Take a model into a project of its own, which runs the compared checks."""
    from embcheck.cli import main

    def init(spec):
        folder = tmp_path_factory.mktemp("project")
        names = "".join(f'  "{check.label}",\n' for check in compared)
        (folder / "pyproject.toml").write_text(f"[tool.embcheck]\nprobes = 1000\nproperty = [\n{names}]\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(["init", spec, "--show", "none"]) == 0
        return folder

    return init


@pytest.fixture
def verdicts(tmp_path, monkeypatch):
    """Check a checkpoint in a project, in CI: the exit code, and each check's change against the baseline."""
    import json

    from embcheck.cli import main

    def check(project, spec, *arguments):
        monkeypatch.chdir(project)
        monkeypatch.setenv("CI", "true")
        code = main(["check", spec, "--json", str(tmp_path / "out.json"), "--show", "none", *arguments])
        (model,) = json.loads((tmp_path / "out.json").read_text())["models"]
        return code, {label(r): r["change"] for r in model["results"] if r["change"] is not None}

    return check


def label(result):
    inside = "-".join(map(str, result["params"].values()))
    return f"{result['property']}[{inside}]" if inside else result["property"]
