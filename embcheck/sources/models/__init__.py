"""Models as directories, in memory and as a demo."""
