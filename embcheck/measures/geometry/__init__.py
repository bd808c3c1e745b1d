"""Measures of the whole table: lengths, spectrum, hubs, rows that training left alone."""
