"""`python -m aiai_async` is `aiai-async`."""

import sys

from aiai_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
