"""`python -m reports DIR`: renders the report of a sweep, and prints the page's path."""

from __future__ import annotations

import sys
from pathlib import Path

import reports
from harness.errors import HarnessError


def main() -> int:
    """Render the folder named on the command line; return the exit status."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one folder
        sys.stderr.write("usage: python -m reports DIR\n")
        return 2
    try:
        page = reports.render(Path(sys.argv[1]))
    except HarnessError as error:
        sys.stderr.write(f"reports: error: {error}\n")
        return int(error.status)
    sys.stdout.write(f"{page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
