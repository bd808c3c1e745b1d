"""Benchmarks: what a check costs, beside what people use today, measured alternately in one run.

``python -m benchmarks`` runs them all; a module here is a benchmark, listed in `benchmarks.registry`. None is a timed
test: the tests run each at a small size and look at its answers only.
"""
