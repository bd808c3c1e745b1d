"""Measures of the cosines of all rows: their signs, their mean, their spread."""
