"""Packs: one file from which a colleague reads a run, and repeats it."""
