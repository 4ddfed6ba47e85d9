"""Strict YAML -> pydantic models, with every fault of a file at once, each with its line."""
