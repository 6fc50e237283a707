"""Calls of S3: by a client for each hub or process, tried again, with this package's errors.

To make the first client of a process takes some tenths of a second (botocore reads its models),
each further one a tenth of that. The first is made with the storage, while
the application is loaded; one that is needed later, in a worker that was forked or in another
hub, is made by a native thread while others run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import gevent.monkey

try:
    import boto3
    import botocore.loaders
    import botocore.session
    from botocore.config import Config
except ImportError:
    raise ImportError("S3Storage needs boto3: pip install 'cooperative_upload[s3]'") from None

from ..hub import current_hub
from ..settings import UploadSettings
from ..turns import current_caller, current_scheduler
from .part_buffer import PartReader
from .retries import with_retries
from .s3_errors import FAILURES, translated, worth_another_try
from .transfers import Aside

T = TypeVar("T")

# Reads the models of botocore once for each process, not for each storage.
_LOADER = botocore.loaders.create_loader()

_native_thread: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")

# Beside those that send parts: what is read, and what is asked in between.
_MORE_CONNECTIONS = 6

_CONNECT_SECONDS = 5.0


class S3Calls:
    """bucket: of all calls.

    session: arguments of boto3.Session (profile_name, region_name).
    client: arguments of Session.client; `config` is merged into what is set here.
    """

    def __init__(
        self,
        bucket: str,
        session: Mapping[str, Any],
        client: Mapping[str, Any],
        settings: UploadSettings,
    ) -> None:
        self.bucket = bucket
        self._settings = settings
        botocore_session = botocore.session.get_session()
        botocore_session.register_component("data_loader", _LOADER)
        self._session: Any = boto3.Session(botocore_session=botocore_session, **session)
        self._options = {**client, "config": _config(settings, client.get("config"))}
        self._clients: dict[tuple[int, int], Aside[Any]] = {}
        _ = self.client

    @property
    def client(self) -> Any:
        """For the current greenlet or thread."""
        # boto3's clients are made for several threads; greenlets of another hub can't go on with
        # a connection that waits by this one's.
        cooperative = gevent.monkey.is_module_patched("socket")
        who = (os.getpid(), _native_thread() if cooperative else 0)
        made = self._clients.get(who)
        if made is None:
            for other in [other for other in self._clients if other[0] != who[0]]:
                del self._clients[other]
            made = self._clients[who] = Aside(self._make_aside)
        return made.result()

    def __call__(
        self,
        operation: str,
        *,
        key: str = "",
        body: Callable[[], PartReader] | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """What the client's method of that name returns at last.

        key: for errors: the object as its user calls it.
        body: what is sent, anew for each try.
        Raises errors of errors.py alone.
        """
        method = getattr(self.client, operation)

        def call() -> dict[str, Any]:
            if body is not None:
                parameters["Body"] = body()
            answer: dict[str, Any] = method(Bucket=self.bucket, **parameters)
            return answer

        def one_try() -> dict[str, Any]:
            if body is not None:
                self._take_turn()  # what botocore does before the first byte is work, too
            return self.waiting_for(call)

        try:
            return with_retries(one_try, self._settings.storage_retry_seconds, worth_another_try)
        except FAILURES as error:
            raise translated(error, operation, key) from error

    def waiting_for(self, call: Callable[[], T]) -> T:
        """What `call` returns, which waits for the store, while others run.

        Where gevent has patched the sockets it waits by itself; else a native thread calls.
        Outside of a hub there are no others.
        """
        if gevent.monkey.is_module_patched("socket"):
            return call()
        result: T = current_caller(self._settings).start(call).result()
        return result

    def _take_turn(self) -> None:
        scheduler = current_scheduler(self._settings)
        if scheduler is not None:
            scheduler.checkpoint()

    def pages(
        self, operation: str, following: Mapping[str, str], *, key: str = "", **parameters: Any
    ) -> Iterator[dict[str, Any]]:
        """The pages of a list, each tried again by itself.

        following: the parameter that goes on, and what of the page before it is given.
        """
        while True:
            page = self(operation, key=key, **parameters)
            yield page
            if not page.get("IsTruncated"):
                return
            parameters.update({name: page[field] for name, field in following.items()})

    def _make_aside(self) -> Any:
        hub: Any = current_hub()
        return self._make() if hub is None else hub.threadpool.apply(self._make)

    def _make(self) -> Any:
        return self._session.client("s3", **self._options)


def _config(settings: UploadSettings, given: Any) -> Any:
    s3 = {"payload_signing_enabled": False, **((given and given.s3) or {})}
    ours = Config(
        signature_version="s3v4",
        max_pool_connections=settings.storage_connections + _MORE_CONNECTIONS,
        connect_timeout=_CONNECT_SECONDS,
        # A store that says nothing for so long is out of reach.
        read_timeout=max(settings.storage_retry_seconds, _CONNECT_SECONDS),
        # Tried again here, where a part begins from where it lies and the time for all is known.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Computed by threads instead, see S3Storage.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    merged = ours if given is None else ours.merge(given)
    return merged.merge(Config(s3=s3))
