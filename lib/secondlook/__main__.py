"""`python -m secondlook`, also under `torchrun`."""

import sys

from secondlook.cli import main

sys.exit(main())
