"""Statistics that know nothing of embeddings: intervals, permutations, areas."""
