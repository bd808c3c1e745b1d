"""Selftest: are the checks themselves calibrated? Each property is measured on tables whose structure is known.

``examine`` makes a document of plain JSON types, which `embcheck.reports.calibration` shows.
"""

from __future__ import annotations

from embcheck.selftest.examine import Plan, examine
from embcheck.selftest.ladders import examine_ladder
from embcheck.selftest.plants import Stage, stage_of

__all__ = ["Plan", "Stage", "examine", "examine_ladder", "stage_of"]
