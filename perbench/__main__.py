"""`python -m perbench` is the `perbench` command."""

import sys

from perbench.cli import program

if __name__ == "__main__":
    sys.exit(program())
