"""`python -m loadtest`."""

import sys

from loadtest.cli import main

if __name__ == "__main__":  # the measuring processes import this module too, under another name
    sys.exit(main())
