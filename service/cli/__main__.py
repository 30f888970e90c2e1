"""`python -m service.cli` is `hrm`."""

import sys

from service.cli import main

sys.exit(main())
