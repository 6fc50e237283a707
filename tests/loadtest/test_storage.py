"""The load test's uploads to a store: relations, what is read back, the relay, real stores."""

from __future__ import annotations

import io
import json
import socket
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loadtest_runs import BARE, load_test, wait_until
from measurements import measurement

from loadtest import assertions
from loadtest.clients.bodies import make_body, random_block
from loadtest.clients.uploads import UploadResult
from loadtest.errors import UsageError
from loadtest.measuring.read_back import FileObjects, difference
from loadtest.measuring.relay import HEADERS, relay
from loadtest.measuring.stored import FirstByte, Reference, make_storage_rows, reference
from loadtest.reports import as_text
from loadtest.scenarios import storage
from loadtest.scenarios.known import make_settings
from loadtest.scenarios.storage import StorageMeasurement, StorageResults, StorageSettings
from loadtest.servers.stores import opened, parse_storage

# The figures


def test_speeds_are_in_relation_to_boto3_with_as_many_uploads() -> None:
    alone = [Reference(8, 400.0), Reference(8, 500.0), Reference(8, 600.0), Reference(32, 100.0)]
    runs = [measurement("a", clients=8), measurement("a", clients=4)]
    eight, four = make_storage_rows(runs, alone)
    assert eight.of_boto3 == pytest.approx(1.0)  # 1 GB in 2 s
    assert four.of_boto3 is None


def test_what_boto3_failed_at_is_no_measure() -> None:
    good = measurement(clients=4).uploads
    assert reference(4, UploadResult(good, 1.0)).mb_per_s == pytest.approx(500)
    broken = (*good[:3], replace(good[3], outcome="boto3 failed (gone)"))
    assert reference(4, UploadResult(broken, 1.0)).mb_per_s is None
    assert reference(4, UploadResult((), 1.0)).mb_per_s is None


def results(*runs: StorageMeasurement) -> StorageResults:
    settings = make_settings({"storage": "s3://bucket"})
    assert isinstance(settings, StorageSettings)
    first = (FirstByte("old", 1.5, 1.6), FirstByte("new", None, 1.6))
    return StorageResults(settings, runs, (Reference(1, 1000.0),), first)


def test_the_findings_say_what_is_kept_of_boto3s_speed() -> None:
    found = storage.findings(
        results(
            StorageMeasurement(**vars(measurement("old", seconds=4.0))),
            StorageMeasurement(**vars(measurement("new"))),
        )
    )
    assert found.verdict == (
        "Of the speed of boto3 alone: 0.25 on old with 1, 0.50 on new with 1; worst small "
        "request: 1.0 ms on old, 1.0 ms on new."
    )
    for grid in found.tables:
        assert {len(line) for line in grid.lines} == {len(grid.headings)}
    assert found.tables[1].lines[0] == ["old", "1.5 s", "1.6 s", "94%"]
    assert found.tables[1].lines[1] == ["new", "never", "1.6 s", "-"]
    assert as_text.render(found)
    demand = assertions.parse_assertions("of_boto3>=0.5,old.of_boto3<0.3")
    assert assertions.check(demand, found.rows) == []


def test_an_object_that_differs_is_a_fault() -> None:
    wrong = ("an object has 5 of 6 bytes",) * 2
    found = storage.findings(results(StorageMeasurement(**vars(measurement()), wrong=wrong)))
    assert found.faults == ["an object has 5 of 6 bytes."]


def test_settings_that_make_no_sense_are_refused() -> None:
    for said in ({"body": "form"}, {"parts": 0}):
        with pytest.raises(UsageError):
            make_settings({"storage": "seaweedfs", **said}).validate()
    with pytest.raises(ValueError, match="is no storage"):
        parse_storage("ftp://x")
    with (
        pytest.raises(UsageError, match="--endpoint"),
        opened("file:///tmp", "http://127.0.0.1:1", Path()),
    ):
        pytest.fail("it is no s3")


# What is read back

SIZE = 2_500_000
BODY = make_body("raw", SIZE, block=random_block(1), field="file")
SENT = random_block(1) * 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SENT[:SIZE], None),
        (SENT[: SIZE - 1], "an object has 2,499,999 of 2,500,000 bytes"),
        (SENT[: SIZE + 1], "an object differs from what was sent from byte 2,500,000 on"),
        (b"", "an object has 0 of 2,500,000 bytes"),
        (SENT[:2_000_000] + bytes(500_000), "an object differs from what was sent from byte 1,"),
    ],
)
def test_what_is_stored_is_compared(tmp_path: Path, content: bytes, said: str | None) -> None:
    (tmp_path / "0").write_bytes(content)
    found = difference(FileObjects(tmp_path.as_uri()), "0", BODY)
    assert found == said or (said and found and found.startswith(said))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = difference(FileObjects(tmp_path.as_uri()), "0", BODY)
    assert found
    assert "can't be read back" in found


# The relay


def test_the_relay_passes_on_and_notes_the_first_content() -> None:
    received = io.BytesIO()
    with socket.create_server(("127.0.0.1", 0)) as store:

        def serve() -> None:
            connection = store.accept()[0]
            with connection:
                while block := connection.recv(65536):
                    received.write(block)
                connection.sendall(b"answer")

        thread = threading.Thread(target=serve)
        thread.start()
        with relay("http://{}:{}".format(*store.getsockname())) as between:
            host, port = between.endpoint.removeprefix("http://").split(":")
            with closing(socket.create_connection((host, int(port)))) as client:
                client.sendall(b"h" * HEADERS)
                wait_until(lambda: received.tell() == HEADERS, 10.0)
                assert between.first_content is None
                client.sendall(b"content")
                client.shutdown(socket.SHUT_WR)
                client.settimeout(10)
                assert client.recv(100) == b"answer"
                assert between.first_content is not None
        thread.join(10)
    assert received.getvalue() == b"h" * HEADERS + b"content"


# Real stores


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


SMALL = ("--uploads", "2", "--size", "20MB", "--servers", "cooperative", *BARE)


def test_uploads_to_a_folder_are_read_back(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "objects"
    folder.mkdir()
    both = [part.replace("cooperative", "gevent,cooperative") for part in SMALL]
    outcome = load_test("--storage", folder.as_uri(), *both, scratch=scratch)
    assert outcome.status == 0, outcome.out + outcome.err
    assert "boto3 alone: not measured" in outcome.out
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.timeout(180)  # seconds: a store is started besides, on a machine that may be busy
def test_uploads_to_a_store_are_measured_against_boto3(tmp_path: Path, scratch: Path) -> None:
    figures = tmp_path / "figures.json"
    outcome = load_test("--storage", "seaweedfs", *SMALL, "--json", str(figures), "--assert",
                        "of_boto3>0.01,errors=0", scratch=scratch, seconds=170)  # fmt: skip
    assert outcome.status == 0, outcome.out + outcome.err
    found: dict[str, Any] = json.loads(figures.read_text())
    assert [each["clients"] for each in found["boto3"]] == [2]
    assert [run["wrong"] for run in found["measurements"] if run["clients"]] == [[]]
    (first,) = found["first_bytes"]
    assert 0 < first["after"] < first["seconds"]
