"""What the command line takes from around it: environment variables and `.env`, the terminal, the time zone."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo


def environment() -> Mapping[str, str]:
    """The environment, over what a `.env` file in the working folder says."""
    if not Path(".env").is_file():
        return os.environ
    from dotenv import dotenv_values

    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**written, **os.environ}


def width() -> int:
    """Columns to write for: the terminal's, 100 elsewhere."""
    from shutil import get_terminal_size

    return get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100


def colour() -> bool:
    """Whether stdout may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def zone() -> tzinfo | None:
    """The time zone in which people here read the clock."""
    return datetime.now().astimezone().tzinfo
