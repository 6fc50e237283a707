"""Where the servers that are measured store what they receive: by its URL, or a store of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.errors import UsageError
from loadtest.servers.seaweedfs import BUCKET, seaweedfs

SEAWEEDFS = "seaweedfs"
SCHEMES = ("s3", "swift", "file")


@dataclass(frozen=True)
class Destination:
    """url: of the bucket, container or folder, and what keys begin with in it.

    environment: what those need who reach it, besides what this process has.
    """

    url: str
    environment: Mapping[str, str]

    @property
    def endpoint(self) -> str | None:
        return self.environment.get("AWS_ENDPOINT_URL")

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme


def parse_storage(text: str) -> str:
    """Raises ValueError for what is no storage."""
    if text != SEAWEEDFS and urlsplit(text).scheme not in SCHEMES:
        raise ValueError(
            f"{text!r} is no storage: {SEAWEEDFS} starts one, else it is an URL (s3://bucket, "
            "swift://container, file:///folder)"
        )
    return text


@contextmanager
def opened(storage: str, endpoint: str | None, scratch: Path) -> Iterator[Destination]:
    """The store, which has its bucket; one that is ours is gone when the context is left."""
    if storage != SEAWEEDFS:
        if endpoint and not storage.startswith("s3://"):
            raise UsageError("--endpoint is that of an s3:// storage.")
        yield Destination(storage, {"AWS_ENDPOINT_URL": endpoint} if endpoint else {})
        return
    with seaweedfs(scratch) as store:
        yield Destination(f"s3://{BUCKET}", store.environment)
