"""What is in the container of segments: writings that are noted there, and what they are made of.

<prefix>/.writings/<id>                     the token of a writing that has not ended
<prefix>/.uploads/<id>/<start>-<stop>-...   a segment
<prefix>/.uploads/<id>/manifest-<n>-<m>     where there are more than a manifest takes
"""

from __future__ import annotations

import functools
import itertools
import json
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from ..settings import UploadSettings
from .contract import Description, Token
from .piece_writer import Piece
from .segments import (
    MOST_ENTRIES,
    Manifest,
    Segment,
    bounds_of,
    covering,
    entries,
    manifests,
    segment_name,
)
from .swift_answers import OCTET_STREAM
from .swift_client import SwiftClient
from .transfers import InFlight

_LISTED_AT_ONCE = 1_000  # parsed in 2 ms
_DELETED_AT_ONCE = 1_000
_MOST_IN_FLIGHT = 8  # requests about segments that one commit makes at once

# Seconds before its segments expire in which a writing is not gone on with.
_EXPIRES_SOON = 60


@dataclass(frozen=True)
class Writing:
    """A token, read.

    part_bytes: of a segment that is whole.
    expires: when Swift deletes its segments, in seconds since 1970.
    """

    key: str
    id: str
    part_bytes: int
    expires: int
    content_type: str | None
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, token: Token) -> Writing:
        return cls(**token)

    @property
    def token(self) -> Token:
        return asdict(self)

    @property
    def description(self) -> Description:
        return Description(self.content_type, self.metadata)

    @property
    def has_expired(self) -> bool:
        return time.time() > self.expires - _EXPIRES_SOON


@dataclass(frozen=True)
class Kept:
    """manifest: of an object. unused: paths of segments that it does without."""

    manifest: Manifest
    unused: Collection[str]


class SwiftWritings:
    """Those of one storage.

    container: with a slash before it.
    prefix: with a slash at its end, or empty.
    """

    def __init__(
        self, client: SwiftClient, container: str, prefix: str, settings: UploadSettings
    ) -> None:
        self._client = client
        self._container = container
        self._prefix = prefix
        self._settings = settings
        self._has_container = False

    def note(self, writing: Writing) -> None:
        """It has begun, or its object is about to vanish; leftovers() finds it from now on."""
        self._make_container()
        headers = {"Content-Type": "application/json"}
        content = json.dumps(writing.token).encode()
        self._client.request("PUT", self._note_path(writing), headers=headers, content=content)

    def is_open(self, writing: Writing) -> bool:
        """Whether it can be gone on with."""
        if writing.has_expired:
            return False
        return self._client.request("HEAD", self._note_path(writing), also=(404,)).status != 404

    def forget(self, writing: Writing) -> None:
        """It has ended."""
        self._client.request("DELETE", self._note_path(writing), also=(404,))

    def end(self, writing: Writing) -> None:
        """Leave nothing of it."""
        self.delete_all(writing)
        self.forget(writing)

    def noted(self) -> Iterator[tuple[Writing, list[Mapping[str, Any]]]]:
        """All, each with the lines of a listing: of its note and of its segments."""
        for line in self._lines(f"{self._prefix}.writings/"):
            path = f"{self._container}/{line['name']}"
            answer = self._client.request("GET", path, also=(404,))
            if answer.status != 404:  # it has not ended meanwhile
                writing = Writing.of(json.loads(answer.body))
                yield writing, [line, *self._lines(self._folder(writing))]

    def send(self, writing: Writing, piece: Piece) -> str:
        """Make a segment of a piece. Returns its path."""
        headers = {
            "Content-Type": OCTET_STREAM,
            "ETag": piece.content.seal()["md5"].hex(),
            "X-Delete-At": str(writing.expires),
        }
        name = segment_name(piece.start, piece.stop, secrets.token_hex(8))
        path = f"{self._container}/{self._folder(writing)}{name}"
        self._client.request("PUT", path, headers=headers, content=piece.content)
        return path

    def segments(self, writing: Writing) -> list[Segment]:
        """Those that are there."""
        folder = self._folder(writing)
        found = []
        for line in self._lines(folder):
            if bounds := bounds_of(line["name"].removeprefix(folder)):
                path = f"{self._container}/{line['name']}"
                found.append(Segment(*bounds, path, line["hash"]))
        return found

    def kept(self, writing: Writing, size: int) -> Kept:
        """What its first `size` bytes are made of, which does not expire from now on.

        Raises ValueError where some bytes are in no segment.
        """
        there = self.segments(writing)
        chosen = covering(there, size)
        self._keep(segment.path for segment in chosen)
        folder = f"{self._container}/{self._folder(writing)}"
        parts, whole = manifests(entries(chosen, size), folder, MOST_ENTRIES)
        for part in parts:
            self._client.request("PUT", f"{folder}{part.name}", **manifest_request(part, {}))
        unused = {segment.path for segment in there} - {segment.path for segment in chosen}
        return Kept(whole, unused)

    def delete_all(self, writing: Writing) -> None:
        """The segments and manifests of a writing."""
        lines = self._lines(self._folder(writing))
        self.delete(f"{self._container}/{line['name']}" for line in lines)

    def delete(self, paths: Iterable[str]) -> None:
        """Segments, or manifests alone. One that is not there is left alone."""
        left = iter(paths)
        while some := list(itertools.islice(left, _DELETED_AT_ONCE)):
            self._client.request(
                "POST",
                "",
                query={"bulk-delete": ""},
                headers={"Content-Type": "text/plain", "Accept": "application/json"},
                content="\n".join(map(quote, some)).encode(),
            )

    def _keep(self, paths: Iterable[str]) -> None:
        in_flight = InFlight(self._settings, _MOST_IN_FLIGHT)

        def keep(path: str) -> None:
            # A POST without X-Delete-At takes it away.
            if self._client.request("POST", path, also=(404,)).status == 404:
                raise ValueError(f"the segment {path} is gone")

        try:
            for path in paths:
                in_flight.start(functools.partial(keep, path), _nothing)
            in_flight.settle()
        finally:
            in_flight.cancel()

    def _folder(self, writing: Writing) -> str:
        return f"{self._prefix}.uploads/{writing.id}/"

    def _note_path(self, writing: Writing) -> str:
        return f"{self._container}/{self._prefix}.writings/{writing.id}"

    def _make_container(self) -> None:
        """Once in a process. Who may make none may still use one that is there."""
        if self._has_container:
            return
        if self._client.request("HEAD", self._container, also=(404,)).status == 404:
            self._client.request("PUT", self._container)
        self._has_container = True

    def _lines(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Of a listing; where there is no container yet there are none."""
        return listing(self._client, self._container, prefix, also=(404,))


def listing(
    client: SwiftClient, container: str, prefix: str, also: tuple[int, ...] = ()
) -> Iterator[Mapping[str, Any]]:
    """The lines of objects whose names begin so, in their order; none after a status of `also`."""
    query = {"format": "json", "prefix": prefix, "limit": str(_LISTED_AT_ONCE), "marker": ""}
    while True:
        answer = client.request("GET", container, query=query, also=also)
        lines = json.loads(answer.body) if answer.status == 200 else []
        yield from lines
        if len(lines) < _LISTED_AT_ONCE:
            return
        query["marker"] = lines[-1]["name"]


def manifest_request(manifest: Manifest, headers: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of a request that stores it."""
    return {
        # White space keeps the connection while Swift looks at each segment.
        "query": {"multipart-manifest": "put", "heartbeat": "on"},
        "headers": {**headers, "Accept": "application/json", "ETag": manifest.etag},
        "content": manifest.body(),
    }


def _nothing() -> None:
    """Nothing is to be freed."""
