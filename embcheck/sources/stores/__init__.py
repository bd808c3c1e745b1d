"""Vectors as people store them: columns of Parquet, Arrow and JSON lines, arrays of npz."""
