"""`perbench data prepare`: converts raw files to checked tables."""
