"""`python -m perbench` is the `perbench` command."""

import sys

from perbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
