"""``python -m flashtalk.cli`` is ``flashtalk``."""

import sys

from flashtalk.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
