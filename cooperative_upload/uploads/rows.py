"""An upload as the row of a table, and back. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ..storage import Ranges
from .record import Answer, Limits, State, Upload


def row_of(upload: Upload) -> dict[str, Any]:
    """The values of its row, which json.dumps takes, too."""
    row = {name: _column_of(name, getattr(upload, name)) for name in _FIELDS}
    row["reserved"] = upload.reserved
    return row


def changes(before: Upload, after: Upload) -> dict[str, Any]:
    """The values of the row that another one has."""
    changed = {
        name: _column_of(name, value)
        for name in _FIELDS
        if (value := getattr(after, name)) != getattr(before, name)
    }
    if before.reserved != after.reserved:
        changed["reserved"] = after.reserved
    return changed


def upload_of(row: Mapping[str, Any]) -> Upload:
    """The upload that a row describes."""
    values = {name: row[name] for name in _FIELDS}
    for name, read in _READ.items():
        if values[name] is not None:
            values[name] = read(values[name])
    return Upload(**values)


def _column_of(name: str, value: Any) -> Any:
    write = _WRITTEN.get(name)
    return value if write is None or value is None else write(value)


def _limits_row(limits: Limits) -> dict[str, Any]:
    return {name: value for name, value in vars(limits).items() if value is not None}


def _limits_of(values: dict[str, Any]) -> Limits:
    if "types" in values:
        values = {**values, "types": tuple(values["types"])}
    return Limits(**values)


def _answer_of(values: Mapping[str, Any]) -> Answer:
    headers = tuple((name, value) for name, value in values["headers"])
    return Answer(values["status"], headers, values["body"])


_FIELDS = tuple(field.name for field in dataclasses.fields(Upload))

# What is no number and no text, as JSON has it.
_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "state": lambda state: state.value,
    "received": lambda ranges: [list(pair) for pair in ranges],
    "metadata": dict,
    "parts": list,
    "digests": lambda digests: {name: digest.hex() for name, digest in digests.items()},
    "limits": _limits_row,
    "refusal": list,
    "answer": dataclasses.asdict,
    "token": dict,
}
_READ: dict[str, Callable[[Any], Any]] = {
    "state": State,
    "received": lambda pairs: Ranges(tuple((start, stop) for start, stop in pairs)),
    "parts": tuple,
    "digests": lambda texts: {name: bytes.fromhex(text) for name, text in texts.items()},
    "limits": _limits_of,
    "refusal": tuple,
    "answer": _answer_of,
}
