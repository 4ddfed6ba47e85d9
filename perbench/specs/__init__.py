"""Strict YAML -> pydantic models, with every fault of a file at once, each with its line."""

from perbench.specs.load import Named, load_matrix, load_model, load_task
from perbench.specs.matrix import MatrixSpec
from perbench.specs.model import ModelSpec
from perbench.specs.task import TaskSpec

__all__ = ["MatrixSpec", "ModelSpec", "Named", "TaskSpec", "load_matrix", "load_model", "load_task"]
