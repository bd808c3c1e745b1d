"""Options: from the command line, the environment and ``pyproject.toml``, for all models and for single ones."""
