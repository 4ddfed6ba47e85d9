"""Whether a trainer or an identifier keeps its contract, tried on a tiny built-in batch without a model."""
