"""`perbench data prepare`: raw files to checked tables."""
