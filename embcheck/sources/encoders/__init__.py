"""Sentence encoders: the table that they read and the vectors that they make."""
