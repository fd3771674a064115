"""Entry point of `python3 -m hailstorm_platform`."""

import sys

from hailstorm_platform.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
