"""Whether a store has what was sent to it: each object is read and compared, then taken away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from loadtest.clients.bodies import Body
from loadtest.clients.boto3_uploads import split_s3
from loadtest.errors import LoadTestError, UsageError

BLOCK = 1024 * 1024


class Objects(Protocol):
    """What is below the URL of a store."""

    def open(self, key: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Raises OSError where there is none."""

    def remove(self, key: str) -> None: ...


class S3Objects:
    """Those of a bucket, which is made if it is not there."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise UsageError(
                "s3:// needs the Python package boto3: pip install -r requirements/peers.txt."
            ) from None
        from botocore.exceptions import BotoCoreError, ClientError

        self._errors = (BotoCoreError, ClientError)
        self._bucket, self._prefix = split_s3(url)
        session = boto3.Session(
            environment.get("AWS_ACCESS_KEY_ID"),
            environment.get("AWS_SECRET_ACCESS_KEY"),
            region_name=environment.get("AWS_DEFAULT_REGION"),
        )
        self._client: Any = session.client(
            "s3", endpoint_url=environment.get("AWS_ENDPOINT_URL"), config=Config()
        )

    def make_bucket(self) -> None:
        """Raises LoadTestError if it is not there and can't be made."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except self._errors:
            try:
                self._client.create_bucket(Bucket=self._bucket)
            except self._errors as error:
                raise LoadTestError(f"The bucket {self._bucket} is not there: {error}.") from None

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
        except self._errors as error:
            raise OSError(str(error)) from error
        with contextlib.closing(answer["Body"]) as body:
            yield body

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)


class FileObjects:
    """Those of a folder."""

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path))

    def open(self, key: str) -> BinaryIO:
        return (self._folder / key).open("rb")

    def remove(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)


def difference(objects: Objects, key: str, body: Body) -> str | None:
    """What is wrong with the object, as half a sentence; None if nothing is."""
    try:
        with objects.open(key) as content:
            return _difference(content.read, body)
    except OSError as error:
        return f"object {key} can't be read back ({error})"


def _difference(read: Callable[[int], bytes], body: Body) -> str | None:
    at = 0
    while block := read(BLOCK):
        seen = memoryview(block)
        while seen:
            sent = body.view(at)[: len(seen)]
            if not sent or sent != seen[: len(sent)]:
                return f"an object differs from what was sent from byte {at:,} on"
            at += len(sent)
            seen = seen[len(sent) :]
    if at != body.length:
        return f"an object has {at:,} of {body.length:,} bytes"
    return None
