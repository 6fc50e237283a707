"""Where the console script begins."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; ends the process with its exit status."""
    try:
        # Not before: the sentence is for who has the package without the extra.
        from .command_line import command
    except ModuleNotFoundError as error:
        sys.exit(
            f"cooperative-upload: the Python package {error.name} is missing: "
            "pip install 'cooperative_upload[server]'"
        )
    command(prog_name="cooperative-upload")
