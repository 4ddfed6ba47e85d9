"""`perbench data build`, `review` and `stats`: writes, annotates and describes identification data."""
