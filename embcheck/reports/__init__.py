"""Report formats, one module each. They see only the report document, never a table or an estimate."""
