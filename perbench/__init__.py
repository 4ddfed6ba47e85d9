"""perbench: benchmark methods that personalise language models."""

__version__ = "0.1.0"
