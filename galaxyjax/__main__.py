"""`python -m galaxyjax` is the command `galaxyjax`."""

import sys

from galaxyjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
