"""`python -m storyrun` is `storyrun`."""

from __future__ import annotations

import sys

from storyrun.cli import main

if __name__ == "__main__":
    sys.exit(main())
