"""Strict YAML -> pydantic models; all faults of a file are reported at once, with lines."""
