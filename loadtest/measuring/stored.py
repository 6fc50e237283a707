"""How fast uploads reach a store, in relation to boto3 alone. Numbers only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.clients.uploads import UploadResult
from loadtest.measuring.statistics import Measurement, Row, make_rows


@dataclass(frozen=True)
class Reference:
    """Uploads of boto3 alone: how many at once, and their MB/s; None if one failed."""

    clients: int
    mb_per_s: float | None


@dataclass(frozen=True)
class FirstByte:
    """When a store saw the first content of an upload of so many seconds.

    after: seconds from its start; None if it never did.
    """

    server: str
    after: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StorageRow(Row):
    """`of_boto3` is its speed in relation to boto3 alone; None where that was not measured."""

    of_boto3: float | None


def make_storage_rows(
    measurements: Sequence[Measurement], references: Sequence[Reference]
) -> list[StorageRow]:
    """As make_rows, with medians of the speeds in relation."""
    rows = []
    for row in make_rows(measurements):
        alone = speed_of(references, row.clients)
        rows.append(StorageRow(**vars(row), of_boto3=row.mb_per_s / alone if alone else None))
    return rows


def speed_of(references: Sequence[Reference], clients: int) -> float | None:
    """The median of boto3's speeds with so many uploads."""
    speeds = [each.mb_per_s for each in references if each.clients == clients and each.mb_per_s]
    return statistics.median(speeds) if speeds else None


def reference(clients: int, result: UploadResult) -> Reference:
    """Of one run of boto3 alone."""
    uploads = result.uploads
    if not uploads or any(upload.outcome != "ok" for upload in uploads):
        return Reference(clients, None)
    seconds = max(upload.end for upload in uploads) - min(upload.start for upload in uploads)
    return Reference(clients, sum(upload.content for upload in uploads) / 1e6 / seconds)
