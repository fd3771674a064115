"""`python3 -m hailstorm_operator.recorder`."""

import sys

from hailstorm_operator.recorder.main import main

sys.exit(main())
