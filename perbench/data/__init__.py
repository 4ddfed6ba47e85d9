"""Examples of a task: rows read, checked, drawn, and their digest."""

from perbench.data.examples import Dataset, load_examples

__all__ = ["Dataset", "load_examples"]
