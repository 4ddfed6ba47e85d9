"""A page on this machine on which a person accepts, edits or rejects gold spans."""
