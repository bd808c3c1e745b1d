"""One run: the session engine, its document, its budget of seconds."""
