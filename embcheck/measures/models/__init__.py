"""Measures that compare a model with another one, or with what was published of it."""
