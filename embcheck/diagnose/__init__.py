"""What happened to a model: the causes that make one table, or one encoder's vectors, out of another's."""
