"""Prints the request corpora of a source distribution of gunicorn as JSON.

A program of its own, for the interpreter that has that very gunicorn: what the files mean is known
by treq.py, which lies beside them and imports gunicorn. Its argument is the directory of treq.py.
Bytes are printed as Latin-1 text.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

# treq chooses the parser itself, and there is only one where gunicorn's C parser is not installed.
_CHOSEN_BY_TREQ = "http_parser"


def main(directory: str) -> None:
    sys.path.insert(0, directory)
    treq = importlib.import_module("treq")
    files = sorted(Path(directory, "requests").glob("*/*.http"))
    print(json.dumps([described(treq, path) for path in files]))


def described(treq: Any, path: Path) -> dict[str, Any]:
    """One file, with what the Python file of the same name says about it."""
    about = treq.load_py(str(path.with_suffix(".py")))
    if path.parent.name == "valid":
        request = treq.request(str(path), about["request"])
        accepted = [expected(one) for one in request.expect]
    else:
        request = treq.badrequest(str(path))
        accepted = []
    return {
        "name": f"{path.parent.name}/{path.stem}",
        "data": request.data.decode("latin-1"),
        "options": options_for(about["cfg"]),
        "accepted": accepted,
    }


def expected(request: dict[str, Any]) -> dict[str, str]:
    """What an application can see of one request that has to be accepted."""
    return {
        "method": request["method"],
        "uri": request["uri"]["raw"],
        "body": (request["body"] or b"").decode("latin-1"),  # an empty one is str at times
    }


def options_for(config: Any) -> list[str]:
    """The command line for what differs from the defaults in a gunicorn.config.Config."""
    default = type(config)()
    options = []
    for name, setting in config.settings.items():
        value = setting.get()
        if value != default.settings[name].get() and name != _CHOSEN_BY_TREQ:
            options.append(setting.cli[0])
            if value is not True:  # a switch
                options.append(",".join(value) if isinstance(value, list) else str(value))
    return options


if __name__ == "__main__":
    main(sys.argv[1])
