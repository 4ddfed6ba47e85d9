"""The examples of a task: rows read, checked and drawn, and their digest."""

from perbench.data.examples import load_examples

__all__ = ["load_examples"]
