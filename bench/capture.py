"""`python -m bench.capture`: the capture bench out of a checkout; the code is in the package."""

from __future__ import annotations

import sys

from mitschnitt.gateways.bench.capture import main

if __name__ == "__main__":
    sys.exit(main())
