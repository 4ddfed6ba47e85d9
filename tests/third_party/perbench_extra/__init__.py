"""A root for perbench: one identifier, one trainer."""
