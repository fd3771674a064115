"""`hailstorm simulate`: see `--help`."""

import sys

from hailstorm_operator.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
