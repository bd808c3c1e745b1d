"""Hidden states: a model run on prompts, one table a layer."""
