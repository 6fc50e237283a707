"""An upload as the row of a table, and back. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..storage import Ranges
from .record import Answer, Limits, State, Upload


def row_of(upload: Upload) -> dict[str, Any]:
    """The values of its row, which json.dumps takes, too."""
    row: dict[str, Any] = {
        field.name: getattr(upload, field.name) for field in dataclasses.fields(upload)
    }
    refusal, answer, token = upload.refusal, upload.answer, upload.token
    row |= {
        "state": upload.state.value,
        "received": [list(pair) for pair in upload.received],
        "metadata": dict(upload.metadata),
        "parts": list(upload.parts),
        "digests": {name: digest.hex() for name, digest in upload.digests.items()},
        "limits": {k: v for k, v in dataclasses.asdict(upload.limits).items() if v is not None},
        "refusal": None if refusal is None else list(refusal),
        "answer": None if answer is None else dataclasses.asdict(answer),
        "token": None if token is None else dict(token),
        "reserved": upload.reserved,
    }
    return row


def upload_of(row: Mapping[str, Any]) -> Upload:
    """The upload that a row describes."""
    values = {name: row[name] for name in _FIELDS}
    refusal, answer, limits = row["refusal"], row["answer"], dict(row["limits"])
    if "types" in limits:
        limits["types"] = tuple(limits["types"])
    values |= {
        "state": State(row["state"]),
        "received": Ranges.of((start, stop) for start, stop in row["received"]),
        "parts": tuple(row["parts"]),
        "digests": {name: bytes.fromhex(digest) for name, digest in row["digests"].items()},
        "limits": Limits(**limits),
        "refusal": None if refusal is None else (refusal[0], refusal[1]),
        "answer": None if answer is None else _answer_of(answer),
    }
    return Upload(**values)


def _answer_of(values: Mapping[str, Any]) -> Answer:
    headers = tuple((name, value) for name, value in values["headers"])
    return Answer(values["status"], headers, values["body"])


_FIELDS = [field.name for field in dataclasses.fields(Upload)]
