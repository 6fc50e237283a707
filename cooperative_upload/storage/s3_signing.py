"""Presigned URLs: what one may do for a while without an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .s3_calls import S3Calls

_OPERATIONS = {"GET": "get_object", "PUT": "put_object"}
_METADATA = "x-amz-meta-"


def signed_url(
    calls: S3Calls,
    name: str,
    method: Literal["GET", "PUT"],
    seconds: float,
    headers: Mapping[str, str],
) -> str:
    """For one object of the bucket. Computed here, without asking the store.

    headers: which the request has to bring as they are. Raises ValueError for one that S3's
        operation does not have, since a signature of it would not be looked at.
    """
    client = calls.client
    operation = _OPERATIONS[method]
    known = _headers_of(client, operation)
    parameters: dict[str, Any] = {"Bucket": calls.bucket, "Key": name}
    for header, value in headers.items():
        word = header.lower()
        if word.startswith(_METADATA):
            parameters.setdefault("Metadata", {})[word.removeprefix(_METADATA)] = value
        elif word in known:
            parameter, kind = known[word]
            parameters[parameter] = kind(value)
        else:
            raise ValueError(f"S3 signs no header {header!r} for {method}")
    url: str = client.generate_presigned_url(operation, parameters, ExpiresIn=int(seconds))
    return url


def _headers_of(client: Any, operation: str) -> dict[str, tuple[str, type]]:
    """The headers of an operation: (parameter, its type) by their names in lower case."""
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
    return {
        member.serialization["name"].lower(): (name, int if member.type_name == "long" else str)
        for name, member in model.input_shape.members.items()
        if member.serialization.get("location") == "header"
    }
