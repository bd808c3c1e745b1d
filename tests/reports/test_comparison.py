"""What `embcheck compare` prints."""

from __future__ import annotations

from embcheck.checks.record import Change
from embcheck.reports.terminal.comparison import Compared, Comparison, lines
from embcheck.reports.text import columns


def test_a_comparison_says_what_moved_and_how_far():
    """A line for each check with its change or why there is none, then the drift; hostile names stay on their line."""
    change = Change(
        state="regressed", passes=False, value=-0.06, low=-0.08, high=-0.04, margin=0.02, before=0.5, after=0.44
    )
    none = {"rows": 0, "first": []}
    fates = {
        "died": {"rows": 1_200, "first": [{"id": 4, "token": "\x1bdead"}]},
        "moved_id": {"rows": 1, "first": [{"id": 5, "token": "there", "new_id": 6}]},
    }
    tokens = {"paired": 8, **dict.fromkeys(("came", "went", "ambiguous"), none), **fates}
    drift = {
        "tokens": tokens,
        "rows": 9,
        "cosine": {"min": 0.5},
        "reason": "x",
        "moved": [{"token": "\x1bred", "id": 3, "value": 0.25}],
    }
    rows = (Compared("toy", change), Compared("lone", None, "no \u202etoys " + "x" * 99), Compared("still", None))
    shown = list(lines(Comparison(("old\n", "new"), None, drift, rows), encoding="ascii"))
    assert [line.style for line in shown[:3]] == ["title", "fail", "plain"]
    text = "\n".join(line.text for line in shown)
    assert text.startswith("new against old\\n\nregressed   toy  moved -0.06 [-0.08, -0.04] from 0.5")
    assert "  8 paired by their text\n  1,200 zero or not finite in the second only:  '\\x1bdead' #4  ...\n" in text
    assert "  1 under another id:  'there' #5 -> #6\ndrift\n" in text
    assert "rows 9  cosine min 0.5  reason x  '\\x1bred' #3 0.2500" in text
    assert all(columns(line.text) <= 80 and line.text.isprintable() and line.text.isascii() for line in shown)
