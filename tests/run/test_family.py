"""Permutation tests that are judged as one family: Holm's adjusted p-values decide, in every front end's document."""

import numpy as np
import pytest

import embcheck
from embcheck import Estimate, beats, claim, nulls
from embcheck.claims import Verdict


def property_of(sizes):
    """A property with one permutation test a size, whose p-value is that many in 1,000."""

    @claim(beats(nulls.shuffled_pairs), size=sizes)
    def tested(table, size):
        """The value is larger than most draws."""
        draws = np.where(np.arange(999) < size - 1, 2.0, 0.0)
        return Estimate.exact(1.0, draws={"shuffled_pairs": draws})

    return tested


def verdicts(sizes, **options):
    run = embcheck.check("random:30x4", properties=[property_of(sizes)], **options)
    return run, {result.check.params["size"]: result.verdict for result in run.results}


def test_by_default_each_test_decides_by_itself():
    """Values of 0.002, 0.004 and 0.009 all hold, and the report says nothing of a family."""
    run, found = verdicts([2, 4, 9])
    assert set(found.values()) == {Verdict.HOLDS}
    assert run.passed
    assert "family_wise" not in run.document["run"]


def test_a_family_is_judged_by_adjusted_values():
    """Of 0.002, 0.004, 0.009 and 0.8 Holm makes 0.008, 0.012, 0.018 and 0.8: the first holds, the others are open."""
    run, found = verdicts([2, 4, 9, 800], family_wise=True)
    assert found == {2: Verdict.HOLDS, 4: Verdict.INCONCLUSIVE, 9: Verdict.INCONCLUSIVE, 800: Verdict.REFUTED}
    assert run.document["run"]["family_wise"] is True
    records = {record["params"]["size"]: record for record in run.document["models"][0]["results"]}
    assert [records[size]["outcome"] for size in (2, 4, 9, 800)] == ["pass", "fail", "fail", "fail"]
    assert records[4]["nulls"][0]["p_adjusted"] == pytest.approx(0.012)
    assert records[4]["claims"][0]["verdict"] == "inconclusive"
    assert "shuffled_pairs p = 0.012" in records[4]["reason"]
    assert not run.passed
