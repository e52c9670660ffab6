"""`python -m limpid` is the command `limpid`."""

import sys

from limpid.cli import main

sys.exit(main())
