"""Nothing to set up: the embcheck plugin is installed with the package."""
