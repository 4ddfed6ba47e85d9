"""perbench: benchmark methods that personalise language models."""

from perbench import _moved

__version__ = "0.1.0"

_moved.install()
