"""The Chromium that the tests look at pages with. `python -m tests.browser` sees that there is one.

STORYRUN_CHROMIUM names a browser; else one is looked for on PATH, then where Playwright keeps its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
"""No sandbox: CI runs as root. The rest keeps the browser itself off the network."""

MISSING = (
    "no Chromium is here, and pages must be seen in one: `python -m tests.browser` installs it where it can; "
    "or name a browser with STORYRUN_CHROMIUM=/path/to/chromium"
)


def found() -> str | None:
    """The path of a Chromium, None when there is none."""
    if named := os.environ.get("STORYRUN_CHROMIUM"):
        return named if Path(named).is_file() else None
    if on_path := next((path for name in NAMES if (path := shutil.which(name))), None):
        return on_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


def ways() -> list[list[list[str]]]:
    """Commands that may bring one, in rows: Debian's package where that can be had, else Playwright's own."""
    rows = []
    if shutil.which("apt-get"):
        root: list[str] = [] if os.geteuid() == 0 else ["sudo", "-n"]
        get = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        install = [*get, "install", "-q", "-y", "--no-install-recommends", "chromium"]
        rows.append([[*get, "update", "-q"], install])
    rows.append([[sys.executable, "-m", "playwright", "install", "chromium"]])
    return rows


def main() -> int:
    """Install a Chromium unless there is one. 0 when there is one at the end."""
    if not found():
        for row in ways():
            print("==", " && ".join(" ".join(command) for command in row), flush=True)
            try:
                for command in row:
                    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            except (OSError, subprocess.CalledProcessError) as error:
                print(error, file=sys.stderr)
            if found():
                break
    if path := found():
        print(f"pages are looked at with {path}")
        return 0
    print(MISSING, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
