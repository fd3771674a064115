"""`python3 -m hailstorm_operator`."""

import sys

from hailstorm_operator.main import main

sys.exit(main())
