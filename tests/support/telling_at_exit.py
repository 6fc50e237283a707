"""A configuration of gunicorn whose master tells the numbers when it ends, in numbers.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from cooperative_upload import overview


def on_exit(server: Any) -> None:
    Path("numbers.json").write_text(json.dumps(dataclasses.asdict(overview())))
