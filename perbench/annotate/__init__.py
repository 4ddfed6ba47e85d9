"""`perbench data build`, `review` and `stats`: identification data, written and annotated."""
