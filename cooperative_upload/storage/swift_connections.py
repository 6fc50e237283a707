"""Single requests to one account of Swift: connections, tokens, and who waits for them.

By urllib3 itself: requests and keystoneauth1 above it take twice the processor time for a small
request. Greenlets of another hub can't go on with a connection that waits by this one's, and a
process not with one that it has inherited: each has connections and a token of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import gevent.monkey

try:
    import urllib3
except ImportError:
    raise ImportError("Swift needs urllib3: pip install 'cooperative_upload[swift]'") from None

from ..settings import UploadSettings
from ..turns import current_caller
from .part_buffer import PartBuffer
from .swift_access import Access, Login, SwiftAccess

T = TypeVar("T")

_native_thread: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")

_CONNECT_SECONDS = 5.0

# Beside those that send parts: what is read, and what is asked in between.
_MORE_CONNECTIONS = 6

_BLOCK_BYTES = 64 * 1024

Response = urllib3.BaseHTTPResponse

CONNECTION_ERRORS = (urllib3.exceptions.HTTPError, OSError)
"""What is raised where no answer comes, or not all of it."""


@dataclass(frozen=True)
class Request:
    """path: from the account on, not quoted; empty for the account itself."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    content: bytes | PartBuffer = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    def body(self) -> bytes | Iterator[bytes] | None:
        """The content, from its beginning."""
        if not self.size:
            return None
        if isinstance(self.content, bytes):
            return self.content
        reader = self.content.reader()
        return iter(lambda: reader.read(_BLOCK_BYTES), b"")


@dataclass(frozen=True)
class _Own:
    """What one hub has, or one process where gevent has patched nothing."""

    access: SwiftAccess
    pool: urllib3.PoolManager


class SwiftConnections:
    """login: makes what is not shared."""

    def __init__(self, login: Login, settings: UploadSettings) -> None:
        self._login = login
        self._settings = settings
        self._owned: dict[tuple[int, int], _Own] = {}

    def send(self, request: Request) -> Response:
        """The answer to one try, of which nothing is read but its head.

        A token that is refused is renewed; a second refusal is the answer.
        Raises CONNECTION_ERRORS, and StorageError for what else goes wrong.
        """
        own = self._own()
        access = own.access.current()
        response = self._send(own, access, request)
        if response.status != 401:
            return response
        drop(response)
        own.access.renew(access)
        return self._send(own, own.access.current(), request)

    def account_url(self) -> str:
        """Where the account is."""
        return self._own().access.current().url

    def waiting_for(self, call: Callable[[], T]) -> T:
        """What `call` returns, which waits for Swift, while others run.

        Where gevent has patched the sockets it waits by itself; else a native thread calls.
        Outside of a hub there are no others.
        """
        if gevent.monkey.is_module_patched("socket"):
            return call()
        result: T = current_caller(self._settings).start(call).result()
        return result

    def _send(self, own: _Own, access: Access, request: Request) -> Response:
        url = access.url + quote(request.path)
        if request.query:
            url += f"?{urlencode(request.query)}"
        headers = {**(request.headers or {}), "X-Auth-Token": access.token}
        if request.method in ("PUT", "POST"):
            headers["Content-Length"] = str(request.size)
        return own.pool.urlopen(
            request.method,
            url,
            body=request.body(),
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
        )

    def _own(self) -> _Own:
        cooperative = gevent.monkey.is_module_patched("socket")
        who = (os.getpid(), _native_thread() if cooperative else 0)
        own = self._owned.get(who)
        if own is None:
            for other in [other for other in self._owned if other[0] != who[0]]:
                del self._owned[other]
            own = self._owned[who] = self._make()
        return own

    def _make(self) -> _Own:
        access = SwiftAccess(self._login)
        options: dict[str, Any] = {}
        if isinstance(access.verify, str):
            options["ca_certs"] = access.verify
        elif not access.verify:
            options["cert_reqs"] = "CERT_NONE"
        if isinstance(access.certificate, str):
            options["cert_file"] = access.certificate
        elif access.certificate:
            options["cert_file"], options["key_file"] = access.certificate
        # A store that says nothing for so long is out of reach.
        silence = max(self._settings.storage_retry_seconds, _CONNECT_SECONDS)
        pool = urllib3.PoolManager(
            maxsize=self._settings.storage_connections + _MORE_CONNECTIONS,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=silence),
            **options,
        )
        return _Own(access, pool)


def whole_body(response: Response) -> bytes:
    """What is left of an answer. Raises CONNECTION_ERRORS."""
    try:
        body = response.read(decode_content=False)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return body


def drop(response: Response) -> None:
    """What is left of an answer is not wanted."""
    whole_body(response)
