"""OpenStack Swift by its own interface: pieces are segments, a manifest makes them an object.

One container holds the objects, and another what they are made of, so that a listing shows objects
alone; `<container>_segments`, as is the custom of Swift's clients.

A segment is durable when Swift has answered: it then has as many copies as the cluster wants.
Until the commit each has a time at which Swift deletes it by itself, the same for all of a
writing, so that this expires as a whole. The commit takes that from the segments that it needs
before it names them in a manifest, and deletes the others.

An object carries the id of its writing, so a commit or an abort that is made again knows what has
become of it, and who deletes or replaces an object knows its segments. Before these are deleted
the writing is noted again: what is left of who is killed in between, leftovers() finds.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from ..errors import AlreadyStored, NotStored, SettingsError, StoredDiffers
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from .contract import UNDESCRIBED, Description, Stored, Token
from .form_files import StorageObjects
from .keys import check_key
from .part_buffer import PartBuffer
from .parts import MIB, Parts, planned
from .piece_writer import Piece
from .ranges import Ranges
from .remote_deposit import RemoteDeposit
from .segments import SWIFT_LIMITS, Manifest
from .swift_access import Login, login_from
from .swift_answers import ID_HEADER, headers_of, listed, modified, stored_of
from .swift_client import Answer, SwiftClient
from .swift_content import SwiftContent
from .swift_range_writer import SwiftRangeWriter
from .swift_writings import SwiftWritings, Writing, listing, manifest_request

SEGMENT_BYTES = 8 * MIB
"""As boto3's parts. Swift serves segments of less than 1 MiB slowly: from the eleventh of an
object on one a second (rate_limit_under_size of its middleware slo)."""

EXPIRY_DAYS = 30.0
"""Days after which a writing without a commit is gone: a second net below whoever sweeps."""


def from_url(url: str, *, cloud: str | None = None, **options: Any) -> SwiftStorage:
    """The storage at swift://container/prefix, with the credentials of the environment.

    cloud: which of those in clouds.yaml instead.
    options: as for SwiftStorage.
    Raises SettingsError for another URL, and where there are no credentials.
    """
    parts = urlsplit(url)
    if parts.scheme != "swift" or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(f"no storage {url!r}: expected swift://container/prefix")
    login = login_from(os.environ, cloud)
    return SwiftStorage(login, unquote(parts.netloc), unquote(parts.path), **options)


class SwiftStorage(StorageObjects):
    """Objects of one container whose names begin with the prefix and a slash.

    login: credentials, see login_from().
    container: is there; that of the segments is made at the first writing, unless it is there.
    segment_bytes: of each but the last of what is written in one go.
    expiry_days: how long a writing may take.
    temporary_url_key: for sign(); None for the one that the container has, or the account.
    """

    limits = SWIFT_LIMITS
    part_digests: tuple[str, ...] = ("md5",)

    def __init__(
        self,
        login: Login,
        container: str,
        prefix: str = "",
        *,
        segments_container: str | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        expiry_days: float = EXPIRY_DAYS,
        temporary_url_key: str | None = None,
        settings: UploadSettings | None = None,
    ) -> None:
        self._settings = settings or settings_in_force()
        self._client = SwiftClient(login, self._settings)
        self._container = f"/{container}"
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        of_segments = f"/{segments_container or f'{container}_segments'}"
        self._writings = SwiftWritings(self._client, of_segments, self._prefix, self._settings)
        self._segment_bytes = segment_bytes
        self._expiry_seconds = round(expiry_days * 24 * 3600)
        self._temporary_url_key = temporary_url_key
        self._has_container = False

    def __repr__(self) -> str:
        return f"SwiftStorage({self._container[1:]!r}, {self._prefix.rstrip('/')!r})"

    def deposit(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> RemoteDeposit:
        """For content that one request brings."""
        self._path(key)
        return RemoteDeposit(self, key, size, description, self._settings)

    def begin(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Token:
        """Begin a writing."""
        self._path(key)
        self._check_container()
        writing = Writing(
            key,
            secrets.token_hex(16),
            self.parts_of(size).first,
            round(time.time()) + self._expiry_seconds,
            description.content_type,
            dict(description.metadata),
        )
        self._writings.note(writing)
        return writing.token

    def writer(self, token: Token, offset: int) -> SwiftRangeWriter:
        """For the bytes of a writing from `offset` on."""
        writing = self._open_writing(token)
        return SwiftRangeWriter(self._writings, writing, offset, self._settings)

    def durable(self, token: Token) -> Ranges:
        """Which bytes of a writing Swift has."""
        segments = self._writings.segments(self._open_writing(token))
        return Ranges.of((segment.start, segment.stop) for segment in segments)

    def commit(
        self,
        token: Token,
        size: int,
        *,
        overwrite: bool = False,
        digests: Mapping[str, bytes] | None = None,
    ) -> Stored:
        """Have the object of a writing appear."""
        writing = Writing.of(token)
        there = self._head(writing.key)
        if not _is_made_by(there, writing):
            self._open_writing(token)
            if there is not None and not overwrite:
                raise AlreadyStored(writing.key)
            self._make(writing, size, there, overwrite)
        self._writings.forget(writing)
        return self.stat(writing.key)

    def abort(self, token: Token) -> None:
        """End a writing."""
        writing = Writing.of(token)
        if not _is_made_by(self._head(writing.key), writing):
            self._writings.end(writing)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> SwiftContent:
        """Bytes `start` to before `stop` of an object."""
        return SwiftContent(self._client, key, self._path(key), start, stop, self._settings)

    def stat(self, key: str) -> Stored:
        """What is known of an object."""
        there = self._head(key)
        if there is None:
            raise NotStored(key)
        return stored_of(key, there.headers, int(there.headers["content-length"]))

    def delete(self, key: str) -> None:
        """Take an object away, and then its segments."""
        there = self._head(key)
        if there is None:
            return
        retired = self._retired(key, there)
        # A large object that somebody else made: where its segments are, its manifest says.
        foreign = retired is None and "x-static-large-object" in there.headers
        query = {"multipart-manifest": "delete"} if foreign else None
        self._client.request("DELETE", self._path(key), query=query, also=(404,))
        if retired is not None:
            self._writings.end(retired)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Objects whose keys begin so."""
        for line in listing(self._client, self._container, f"{self._prefix}{prefix}"):
            yield listed(line["name"].removeprefix(self._prefix), line)

    def sign(
        self,
        key: str,
        method: Literal["GET", "PUT"] = "GET",
        *,
        seconds: float = 3600.0,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A TempURL. It binds no headers: Swift takes a PUT without them, and with others.

        A PUT may also be the manifest of a large object, from whatever segments its sender knows:
        who lets others send has to look at what arrived.
        """
        url = self._client.account_url() + quote(self._path(key))
        path = urlsplit(url).path
        expires = int(time.time() + seconds)
        # Swift signs the path that it sees, which may be behind one of its server's.
        text = f"{method}\n{expires}\n{unquote(path[path.index('/v1/') :])}"
        signature = hmac.new(self._key_of_urls().encode(), text.encode(), hashlib.sha256)
        return f"{url}?temp_url_sig={signature.hexdigest()}&temp_url_expires={expires}"

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        """Writings that nobody has gone on with for so long."""
        for writing, lines in self._writings.noted():
            age = datetime.datetime.now(datetime.timezone.utc) - max(map(modified, lines))
            if max(age, datetime.timedelta(0)) < older_than:  # Swift's clock may be ahead
                continue
            if _is_made_by(self._head(writing.key), writing):
                self._writings.forget(writing)  # who committed it was killed right behind that
            else:
                yield writing.token

    # What the deposits need beside these: see RemoteStore.

    def parts_of(self, size: int | None) -> Parts:
        """How content is divided."""
        return planned(size, self.limits, preferred=self._segment_bytes)

    def put(
        self,
        key: str,
        content: PartBuffer,
        description: Description,
        overwrite: bool,
        digests: Mapping[str, bytes],
    ) -> Stored:
        """Have the object appear in one request."""
        computed = content.seal()["md5"]
        if digests.get("md5", computed) != computed:
            raise StoredDiffers(OSError(errno.EIO, f"what is to be stored as {key!r} has changed"))
        there = self._head(key) if overwrite else None
        headers = {**headers_of(description, secrets.token_hex(16)), "ETag": computed.hex()}
        made = self._put(key, {"headers": headers, "content": content}, there, overwrite)
        return stored_of(key, made.headers, content.size)

    def send(self, token: Token, piece: Piece) -> None:
        """Make a segment of a piece."""
        self._writings.send(Writing.of(token), piece)

    def _open_writing(self, token: Token) -> Writing:
        writing = Writing.of(token)
        if not self._writings.is_open(writing):
            raise NotStored(writing.key)
        return writing

    def _make(self, writing: Writing, size: int, there: Answer | None, overwrite: bool) -> None:
        kept = self._writings.kept(writing, size)
        headers = headers_of(writing.description, writing.id)
        self._put(writing.key, _request(kept.manifest, headers), there, overwrite)
        self._writings.delete(kept.unused)

    def _put(
        self, key: str, request: dict[str, Any], there: Answer | None, overwrite: bool
    ) -> Answer:
        """Have an object appear, and what it replaces go. The answer has the request's headers.

        there: what it replaces, if that is allowed.
        """
        retired = None if there is None else self._retired(key, there)
        headers = request["headers"]
        if not overwrite:
            headers["If-None-Match"] = "*"
        answer = self._client.request("PUT", self._path(key), **request, also=(412,))
        if answer.status == 412:
            # It may be there by a first try whose answer was lost.
            found = self._head(key)
            if found is None or found.headers.get(ID_HEADER) != headers[ID_HEADER]:
                raise AlreadyStored(key)
            answer = found
        if retired is not None:
            self._writings.end(retired)
        sent = {name.lower(): value for name, value in headers.items()}
        return Answer(answer.status, {**sent, **answer.headers}, b"")

    def _retired(self, key: str, there: Answer) -> Writing | None:
        """The writing that made an object which is going to vanish; None if it has no segments."""
        made_by = there.headers.get(ID_HEADER)
        if made_by is None or "x-static-large-object" not in there.headers:
            return None
        retired = Writing(key, made_by, self._segment_bytes, 0, None, {})
        self._writings.note(retired)
        return retired

    def _head(self, key: str) -> Answer | None:
        answer = self._client.request("HEAD", self._path(key), also=(404,))
        if answer.status == 404:
            self._check_container()
            return None
        return answer

    def _check_container(self) -> None:
        """Once in a process: an object that is not there may be a container that is not there."""
        if not self._has_container:
            self._client.request("HEAD", self._container)
            self._has_container = True

    def _path(self, key: str) -> str:
        check_key(key)
        name = f"{self._prefix}{key}"
        check_key(name)  # which is longer
        return f"{self._container}/{name}"

    def _key_of_urls(self) -> str:
        if self._temporary_url_key is None:
            of_account = self._client.request("HEAD", "").headers
            of_container = self._client.request("HEAD", self._container).headers
            self._temporary_url_key = of_container.get(
                "x-container-meta-temp-url-key", of_account.get("x-account-meta-temp-url-key")
            )
        if self._temporary_url_key is None:
            raise NotImplementedError("neither the container nor its account has a TempURL key")
        return self._temporary_url_key


def _request(manifest: Manifest, headers: dict[str, str]) -> dict[str, Any]:
    """What stores the object of a manifest, which has at least one entry if it is one."""
    if manifest.entries:
        return manifest_request(manifest, headers)
    return {"headers": headers, "content": b""}


def _is_made_by(there: Answer | None, writing: Writing) -> bool:
    return there is not None and there.headers.get(ID_HEADER) == writing.id
