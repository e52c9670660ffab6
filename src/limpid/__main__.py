"""`python -m limpid` is the command `limpid`."""

import sys

from limpid.cli.main import main

if __name__ == "__main__":  # not in the processes that the command starts
    sys.exit(main())
