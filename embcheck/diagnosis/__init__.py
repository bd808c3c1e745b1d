"""What happened to a table: a reference and a candidate in, causes out.

Each module of `embcheck.diagnosis.causes` knows one kind of cause; `embcheck.diagnosis.search` tries them.
"""
