"""Engines: what serves models, each a folder of its own."""
