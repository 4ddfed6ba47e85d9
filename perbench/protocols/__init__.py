"""The built-in protocols, a folder each."""
