"""Sweeps: the same checks over very many checkpoints, on whatever runs tasks, into one Parquet file.

``plan`` says which checkpoints, ``worker`` measures one of them wherever it is sent, ``pools`` are where it may be
sent, ``drive`` keeps them busy and outlives those that die, ``state`` knows what is lacking and what it all says,
``store`` keeps what is finished, and ``bisect`` finds where a claim broke. `embcheck.reports.series` reads the result
over steps.
"""

from embcheck.sweep.bisect import Broken, bisect
from embcheck.sweep.drive import Swept, sweep
from embcheck.sweep.plan import Checkpoint, checkpoints

__all__ = ["Broken", "Checkpoint", "Swept", "bisect", "checkpoints", "sweep"]
