"""How a run measures, as far as it is a rule of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest

from embcheck import Estimate, above, beats, claim, lexicons, measures, nulls, settings
from embcheck.checks.evaluate import Check, evaluate
from embcheck.errors import UsageError
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable


@pytest.fixture
def table():
    words = [*lexicons.sequences("digits")[0].words, *(f"t{i}" for i in range(60))]
    return EmbeddingTable.from_arrays(np.random.default_rng(0).standard_normal((len(words), 8)), words)


def test_probes_are_what_every_measure_samples():
    """A number of probes takes the place of a measure's own; ``all`` and none leave it."""
    assert [Settings(probes=p).sampled(1_000) for p in (None, "all", 50, 5_000)] == [1_000, 1_000, 50, 5_000]


def test_draws_are_at_most_those_that_a_measure_makes():
    """Fewer draws than a measure makes are made, never more."""
    assert [Settings(draws=d).drawn(99) for d in (None, 9, 1_000)] == [99, 9, 99]


def test_at_least_one_draw():
    """No draws at all would make no p-value."""
    with pytest.raises(UsageError, match="at least 1 draw of a null is needed, got 0"):
        Settings(draws=0)


def test_measures_and_whole_tables_keep_to_the_draws(table):
    """Draws that a measure makes and those of a null that replaces the table are as many as asked for."""

    @claim(beats(nulls.gaussian))
    def first(table):
        """The first entry is large."""
        return Estimate.exact(float(table.vectors[0, 0]))

    found = evaluate(Check(first), table, Settings(draws=7))
    assert len(found.estimate.draws["gaussian"]) == 7
    with using(Settings(draws=7)):
        (digits,) = lexicons.sequences("digits")
        assert len(measures.order_agreement(table, digits, rng=np.random.default_rng(0)).draws["shuffled_order"]) == 7


def test_details_may_be_left_out(table):
    """Without details the estimate is the same, and what is slow beside it is not there."""
    found = []
    for details in (True, False):
        with using(Settings(details=details)):
            found.append(measures.neighbor_count_skewness(table, rng=np.random.default_rng(0)))
    assert found[0].value == found[1].value
    assert ["whole_vocabulary" in each.details for each in found] == [True, False]


@claim(above(0))
def plain(table):
    """Nothing planted."""
    return Estimate.exact(1.0)


plain.__test__ = False


def test_nothing_is_planted_unless_it_is_said():
    """A declaration without a plant has none."""
    assert plain.__embcheck__.planted is None


_FREED = """
import os, re, sys
os.environ.update(dict(part.split("=") for part in sys.argv[1:]))
from embcheck.settings import prepare_process
prepare_process()
def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
before = held()
bytearray(30 * 2**20)  # after which glibc takes blocks of up to 30 MB from its heap, left to itself
blocks = [(bytearray(20 * 2**20), bytearray(100_000)) for _ in range(8)]
kept = [small for _, small in blocks]
del blocks
print(held() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_blocks_are_given_back():
    """Large blocks go back to the system with small ones between them; what the user chose stays as it is."""

    def held(*chosen):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, "-c", _FREED, *chosen]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
        return float(done.stdout)

    assert held() < 20
    assert held("MALLOC_ARENA_MAX=4") > 100


def test_systems_without_glibc_are_left_alone(monkeypatch):
    """Where the C library has no such setting, nothing happens."""
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    settings.prepare_process()


@pytest.mark.parametrize("call", ["load('random:30x4')", "check('random:30x4', properties='isotropy')"])
def test_python_has_the_threads_of_the_command_line(call):
    """A script that loads or checks has waiting threads that don't spin; the import alone changes nothing."""
    names = ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS")
    script = f"import os, embcheck; say = lambda: print(*map(os.environ.get, {names}))\nsay()\nembcheck.{call}\nsay()"
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.splitlines() == ["None None", "PASSIVE 1"]
