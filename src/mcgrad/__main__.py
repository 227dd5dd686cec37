"""``python -m mcgrad`` is the command line."""

import sys

from mcgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
