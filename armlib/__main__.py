"""``python -m armlib`` is the command line, for launchers that start modules, such as torchrun."""

import sys

from armlib.cli import main

sys.exit(main())
