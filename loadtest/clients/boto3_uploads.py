"""The process that uploads to a store by boto3 alone, without a server in between.

The content lies in memory, and the uploads share one transfer manager, which is what boto3's
upload_fileobj makes for each call: so many parts of them all are in flight at once, and no more.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest.clients.bodies import random_block
from loadtest.clients.crew import Station
from loadtest.clients.uploads import Upload, UploadResult

WARM_UP = 16 * 1024**2  # bytes: two parts


@dataclass(frozen=True)
class Boto3Job:
    """`clients` uploads of `size` bytes to keys below `url`; `parts` of them all in flight."""

    url: str
    environment: Mapping[str, str]
    clients: int
    size: int
    parts: int
    seed: int
    seconds: float


def run(job: Boto3Job, station: Station) -> UploadResult:
    """The process's task."""
    os.environ.update(job.environment)
    import boto3
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.config import Config

    bucket, prefix = split_s3(job.url)
    client = boto3.client("s3", config=Config(max_pool_connections=job.parts))
    block = random_block(job.seed)
    content = block * (job.size // len(block)) + block[: job.size % len(block)]
    config = TransferConfig(max_concurrency=job.parts)
    with create_transfer_manager(client, config) as manager:
        manager.upload(io.BytesIO(content[:WARM_UP]), bucket, f"{prefix}0").result()
        cpu_before = time.process_time()
        start = station.wait_for_go()
        futures = [
            manager.upload(io.BytesIO(content), bucket, f"{prefix}{client}")
            for client in range(job.clients)
        ]
        done = []
        for number, future in enumerate(futures):
            outcome = _outcome(future)
            end = time.perf_counter()
            done.append(Upload(number, start, end, job.size, job.size, job.size, outcome, 200))
    return UploadResult(tuple(done), time.process_time() - cpu_before)


def _outcome(future: object) -> str:
    try:
        future.result()  # type: ignore[attr-defined]
    except Exception as error:  # botocore's, of many kinds: each is the outcome of one upload
        return f"boto3 failed ({error})"
    return "ok"


def split_s3(url: str) -> tuple[str, str]:
    """Bucket, and what keys begin with."""
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""
