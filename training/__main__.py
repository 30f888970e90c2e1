"""`python -m training` is `hrm-train`, for `torchrun --nproc-per-node 8 -m training fit RECIPE`."""

import sys

from training.cli import main

sys.exit(main())
