"""`python -m nri_cdi` is `nri-cdi`."""

import sys

from nri_cdi.cli import main

sys.exit(main())
