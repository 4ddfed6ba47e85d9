"""Published results: reviewable JSON files, each with one method on one target over all its seeds."""

from perbench.published.files import published_files, read_published
from perbench.published.read import FileFault, whole
from perbench.published.shape import MatrixPart, Published, PublishedCell

__all__ = [
    "FileFault",
    "MatrixPart",
    "Published",
    "PublishedCell",
    "published_files",
    "read_published",
    "whole",
]
