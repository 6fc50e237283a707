"""`python -m loadtest`."""

import sys

if __name__ == "__main__":  # the measuring processes import this module too, under another name
    try:
        from loadtest.cli import main
    except ModuleNotFoundError as error:
        sys.exit(
            f"loadtest: the Python package {error.name} is missing: "
            "pip install -r requirements/loadtest.txt"
        )
    sys.exit(main())
