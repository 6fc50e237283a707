"""Requests to Swift, tried again while that may help, and told in the errors of this package."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import StorageError, StorageUnavailable, StoredDiffers
from ..settings import UploadSettings
from ..turns import current_scheduler
from .part_buffer import PartBuffer
from .retries import with_retries
from .swift_access import Login
from .swift_answers import failure, outcome
from .swift_connections import (
    CONNECTION_ERRORS,
    Request,
    Response,
    SwiftConnections,
    drop,
    whole_body,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """Status, headers by their names in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class _Failed(Exception):
    """One try.

    again_after: seconds that the store wants to be left alone.
    """

    def __init__(self, error: StorageError, again_after: float = 0.0) -> None:
        self.error = error
        self.again_after = again_after


class SwiftClient:
    """One for each storage. Greenlets share it, also of several hubs."""

    def __init__(self, login: Login, settings: UploadSettings) -> None:
        self._settings = settings
        self._connections = SwiftConnections(login, settings)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | PartBuffer = b"",
        also: tuple[int, ...] = (),
    ) -> Answer:
        """Its answer, once it has gone well; a transient fault is tried again.

        path: from the account on, not quoted; empty for the account itself.
        also: statuses that mean something to the caller, beside 2xx.
        Raises StorageError for any other.
        """
        request = Request(method, path, query, headers, content)

        def attempt() -> Answer:
            response = self._connections.send(request)
            body = whole_body(response)
            status, text = outcome(response.status, body)
            if status < 300 or status in also:
                return Answer(status, _lower(response), body)
            raise _Failed(failure(status, str(request), text), _retry_after(response))

        return self._tried(request, attempt)

    def download(self, path: str, headers: Mapping[str, str]) -> tuple[Answer, Download]:
        """The head of an answer, and its body; 404, 412 and 416 are answers too."""
        request = Request("GET", path, None, headers)

        def attempt() -> tuple[Answer, Download]:
            response = self._connections.send(request)
            if response.status in (200, 206, 404, 412, 416):
                download = Download(response, self._connections, self._settings)
                return Answer(response.status, _lower(response)), download
            drop(response)
            raise _Failed(failure(response.status, str(request)), _retry_after(response))

        return self._tried(request, attempt)

    def account_url(self) -> str:
        """Where the account is."""
        return self._tried(Request("GET", ""), self._connections.account_url)

    def _tried(self, request: Request, attempt: Callable[[], T]) -> T:
        scheduler = current_scheduler(self._settings)

        def one_try() -> T:
            if scheduler is not None and request.size:
                scheduler.checkpoint()  # what is done before the first byte is work, too
            try:
                return self._connections.waiting_for(attempt)
            except StorageError as error:
                raise _Failed(error) from error
            except CONNECTION_ERRORS as error:
                cause = OSError(errno.EIO, f"{request}: {error}")
                raise _Failed(StorageUnavailable(cause)) from error

        try:
            return with_retries(one_try, self._settings.storage_retry_seconds, _worth)
        except _Failed as failed:
            raise failed.error from failed.__cause__


class Download:
    """The body of an answer, as it comes."""

    def __init__(
        self, response: Response, connections: SwiftConnections, settings: UploadSettings
    ) -> None:
        self._response = response
        self._connections = connections
        self._settings = settings

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end. Takes a turn for it. Raises OSError."""
        scheduler = current_scheduler(self._settings)
        if scheduler is not None:
            scheduler.checkpoint()
        try:
            return self._connections.waiting_for(
                lambda: self._response.read(size, decode_content=False)
            )
        except CONNECTION_ERRORS as error:
            raise OSError(errno.EIO, str(error)) from error

    def close(self) -> None:
        """Keep the connection if all was read, else close it. Never waits."""
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()


def _worth(error: Exception) -> float | None:
    if isinstance(error, _Failed) and isinstance(error.error, (StorageUnavailable, StoredDiffers)):
        return error.again_after
    return None


def _retry_after(response: Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _lower(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
