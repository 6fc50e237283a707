"""Stores that speak S3, on loopback: SeaweedFS, a real distributed one, and moto."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout import SUPPORT
from live_server import wait_until
from reserved_port import bound_socket, port_of

ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"

_IDENTITIES = {
    "identities": [
        {
            "name": "tester",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}

# A bucket has volumes of its own: one at a time instead of seven.
_GROWTH = "[master.volume_growth]\ncopy_1 = 1\n"

_PORTS = ("master", "master grpc", "volume", "volume grpc", "filer", "filer grpc", "s3", "s3 grpc")


@dataclass(frozen=True)
class S3Server:
    """A store that is up.

    options: what S3Storage needs to reach it.
    """

    endpoint: str

    @property
    def options(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.endpoint,
            "region": "us-east-1",
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
        }

    @property
    def variables(self) -> dict[str, str]:
        """The same where boto3's users keep it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }


@contextlib.contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """One that keeps all in a directory. It takes four to seven seconds."""
    program = Path(sys.executable).with_name("weed")
    ports = _free_ports()
    (directory / "s3.json").write_text(json.dumps(_IDENTITIES))
    (directory / "master.toml").write_text(_GROWTH)
    (directory / "data").mkdir()
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    # The master goes first and alone: a volume server that reports to it before it leads waits
    # five seconds for its next try.
    master = [
        "master",
        *here,
        f"-mdir={directory}/data",
        f"-port={ports['master']}",
        f"-port.grpc={ports['master grpc']}",
        "-telemetry=false",
        "-volumeSizeLimitMB=1024",
        "-electionTimeout=1s",
        "-heartbeatInterval=100ms",
    ]
    server = [
        "server",
        *here,
        f"-dir={directory}/data",
        "-master=false",
        f"-master.peers=127.0.0.1:{ports['master']}.{ports['master grpc']}",
        f"-volume.port={ports['volume']}",
        f"-volume.port.grpc={ports['volume grpc']}",
        "-volume.max=20000",
        "-volume.minFreeSpacePercent=1",
        "-filer",
        f"-filer.port={ports['filer']}",
        f"-filer.port.grpc={ports['filer grpc']}",
        f"-filer.localSocket={directory}/filer.sock",
        "-s3",
        f"-s3.port={ports['s3']}",
        f"-s3.port.grpc={ports['s3 grpc']}",
        f"-s3.config={directory}/s3.json",
        "-s3.iam=false",
        f"-s3.localSocket={directory}/s3.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]
    address = "http://127.0.0.1:{}"
    with _weed(program, master, directory), contextlib.ExitStack() as stack:
        stack.callback(_remove_sockets, ports)
        cluster = address.format(ports["master"])
        wait_until(lambda: b'"IsLeader":true' in _asked(f"{cluster}/cluster/status"), "a master")
        stack.enter_context(_weed(program, server, directory))
        # In this order: asked for room before it knows a volume server, the master waits.
        wait_until(lambda: _has_volumes(cluster), "a volume server")
        filer, s3 = address.format(ports["filer"]), address.format(ports["s3"])
        wait_until(lambda: _asked(f"{filer}/"), "a filer")
        wait_until(lambda: _asked(f"{s3}/"), "an S3 gateway")
        wait_until(lambda: b"fid" in _asked(f"{cluster}/dir/assign"), "room")
        yield S3Server(s3)


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    """A second opinion: it knows S3's errors, keeps all in memory, and takes any signature.

    Parts may be as small as one likes there.
    """
    with bound_socket() as reserved:
        port = port_of(reserved)
    command = [
        sys.executable,
        str(SUPPORT / "moto_process.py"),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    environment = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            wait_until(lambda: _asked(endpoint), "moto")
            yield S3Server(endpoint)
        finally:
            process.kill()


@contextlib.contextmanager
def _weed(program: Path, arguments: list[str], directory: Path) -> Iterator[None]:
    environment = {**os.environ, "HOME": str(directory), "TMPDIR": str(directory)}
    with open(directory / f"{arguments[0]}.log", "wb") as log:
        process = subprocess.Popen(
            [str(program), "-logtostderr=true", "-v=0", *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)  # politely it takes over ten seconds
        process.wait()


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        return {name: port_of(stack.enter_context(bound_socket())) for name in _PORTS}


def _remove_sockets(ports: dict[str, int]) -> None:
    """weed puts its gRPC sockets into /tmp, whatever TMPDIR says."""
    for name in ("master", "volume", "filer", "s3"):
        Path(f"/tmp/seaweedfs-{name}-grpc-{ports[f'{name} grpc']}.sock").unlink(missing_ok=True)


def _has_volumes(cluster: str) -> bool:
    topology = _asked(f"{cluster}/dir/status")
    return bool(topology) and bool(json.loads(topology)["Topology"].get("Max", 0))


def _asked(url: str) -> bytes:
    """The body of any answer, but of one that the server can't give yet; b"" if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read()) or b"empty"
    except urllib.error.HTTPError as error:
        with error:
            return b"" if error.code >= 500 else b"refused"
    except OSError:
        return b""
