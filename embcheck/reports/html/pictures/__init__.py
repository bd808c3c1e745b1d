"""The pictures, one module a family of measures: each registers with `@picture` what draws a measure's results.

A picture gets what the report says of one result, or of all results of a property on all models, and gives figures.
What a report's details lack, or hold in another shape than the measure gives, can't be drawn: the property then has
the picture that serves every estimate.
"""

from embcheck.reports.html.pictures import cosines, generic, geometry, models, pairs, words  # noqa: F401 - they register
from embcheck.reports.html.pictures.registry import Figure, Shown, draw_beside, draw_each, draw_together

__all__ = ["Figure", "Shown", "draw_beside", "draw_each", "draw_together"]
