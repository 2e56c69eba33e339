"""`python -m hjpde`."""

import sys

from hjpde.cli import main

sys.exit(main())
