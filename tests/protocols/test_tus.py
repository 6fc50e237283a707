"""tus 1.0.0, request by request, as its specification has them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from uploads_in_process import BYTES, TUS, Uploading, id_in, told

from cooperative_upload.uploads import Limits


def checksum_of(data: bytes, name: str = "sha1") -> str:
    return f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"


# Core


def test_an_upload(client: Uploading) -> None:
    """Begun, sent in two pieces, asked for in between."""
    address = client.begin(10)
    first = client.send(address, 0, b"01234")
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "5")
    head = client.ask("HEAD", address, headers=TUS)
    assert head.status_code == 200
    assert head.headers["Upload-Offset"] == "5"
    assert head.headers["Upload-Length"] == "10"
    assert head.headers["Cache-Control"] == "no-store"
    last = client.send(address, 5, b"56789")
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, "10")
    assert client.content(address) == b"0123456789"


def test_every_response_says_the_version(client: Uploading) -> None:
    """Errors too."""
    for method, address in (("HEAD", client.begin()), ("HEAD", "/files/no"), ("GET", "/files/no")):
        response = client.ask(method, address, headers=TUS)
        assert response.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize("version", ["", "0.2.2", "1.0.1"])
def test_another_version(client: Uploading, version: str) -> None:
    """Also where the version was forgotten, as long as all else is tus."""
    address = client.begin()
    headers = {**BYTES, "Upload-Offset": "0", "Tus-Resumable": version}
    response = client.ask("PATCH", address, headers=headers, data=b"x")
    assert response.status_code == 412
    assert response.headers["Tus-Version"] == "1.0.0"
    assert client.offset(address) == 0


def test_another_type(client: Uploading) -> None:
    address = client.begin()
    response = client.send(address, 0, b"x", **{"Content-Type": "application/octet-stream"})
    assert response.status_code == 415
    assert client.offset(address) == 0


@pytest.mark.parametrize("offset", [0, 4, 6, 11, 2**63])
def test_another_offset(client: Uploading, offset: int) -> None:
    """Behind the end, too. The error says both."""
    address = client.begin(10)
    client.send(address, 0, b"01234")
    response = client.send(address, offset, b"56789")
    assert response.status_code == 409
    assert {"expected-offset": 5, "provided-offset": offset}.items() <= (
        response.json or {}
    ).items()
    assert client.offset(address) == 5


@pytest.mark.parametrize("offset", ["", "-1", "x", "0x1"])
def test_what_is_no_offset(client: Uploading, offset: str) -> None:
    address = client.begin(10)
    response = client.send(address, 0, b"01234", **{"Upload-Offset": offset})
    assert response.status_code == 400


def test_more_than_was_declared(client: Uploading) -> None:
    address = client.begin(10)
    response = client.send(address, 0, bytes(11))
    assert response.status_code == 413
    assert client.offset(address) == 0


def test_uploads_that_are_not_there(client: Uploading) -> None:
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {**BYTES, "Upload-Offset": "0"}
        assert client.ask(method, "/files/guessed", headers=headers).status_code == 404


def test_method_override(client: Uploading) -> None:
    """Where a proxy knows no PATCH."""
    address = client.begin(3)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.ask("POST", address, headers=headers, data=b"abc").status_code == 204
    assert client.content(address) == b"abc"


def test_other_methods(client: Uploading) -> None:
    response = client.ask("PUT", client.begin(), headers=TUS)
    assert response.status_code == 405
    assert response.headers["Allow"] == "HEAD, PATCH, DELETE, OPTIONS"


def test_options(uploading_with: Callable[..., Uploading]) -> None:
    response = uploading_with(limits=Limits(upload_bytes=1000)).ask("OPTIONS")
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"
    assert response.headers["Tus-Max-Size"] == "1000"
    assert response.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,crc32c"
    assert set(response.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    }


# Creation


def test_metadata_come_back(client: Uploading) -> None:
    metadata = "filename U3RyYcOfZS5wZGY=,filetype YXBwbGljYXRpb24vcGRm,empty"
    address = client.begin(10, **{"Upload-Metadata": metadata})
    response = client.ask("HEAD", address, headers=TUS)
    assert response.headers["Upload-Metadata"] == metadata
    upload = client.uploads.status(id_in(address))
    assert (upload.name, upload.content_type) == ("Straße.pdf", "application/pdf")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "x"}, 400),
        ({"Upload-Length": "1", "Upload-Defer-Length": "1"}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Length": "1001"}, 413),
        ({"Upload-Length": str(2**63)}, 413),
        ({"Upload-Length": "1", "Upload-Metadata": "a !"}, 400),
        ({"Upload-Length": "1", "Upload-Metadata": "a " + "A" * 2**20}, 431),
        ({"Upload-Length": "1", "Upload-Concat": "whole"}, 400),
    ],
)
def test_creations_that_are_refused(
    uploading_with: Callable[..., Uploading], headers: dict[str, str], status: int
) -> None:
    client = uploading_with(limits=Limits(upload_bytes=1000))
    response = client.ask("POST", headers={**TUS, **headers})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


def test_nothing_is_an_upload_too(client: Uploading) -> None:
    """It is ready at once."""
    address = client.begin(0)
    assert client.offset(address) == 0
    assert client.content(address) == b""


def test_creation_with_upload(client: Uploading) -> None:
    headers = {**BYTES, "Upload-Length": "5"}
    response = client.ask("POST", headers=headers, data=b"01234")
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "5"
    assert client.content(f"/{response.headers['Location']}") == b"01234"


def test_creation_with_a_body_of_another_type(client: Uploading) -> None:
    headers = {**TUS, "Upload-Length": "5"}
    response = client.ask("POST", headers=headers, data=b"01234")
    assert response.status_code == 415


def test_creation_with_upload_of_a_wrong_checksum(client: Uploading) -> None:
    """The upload is there, and its client is told where."""
    headers = {**BYTES, "Upload-Length": "5", "Upload-Checksum": checksum_of(b"other")}
    response = client.ask("POST", headers=headers, data=b"01234")
    assert response.status_code == 460
    address = f"/{response.headers['Location']}"
    assert client.offset(address) == 0
    client.send(address, 0, b"01234")
    assert client.content(address) == b"01234"


def test_a_length_that_is_said_later(client: Uploading) -> None:
    address = client.begin(None)
    head = client.ask("HEAD", address, headers=TUS)
    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in head.headers
    assert client.send(address, 0, b"01234").status_code == 204
    assert not client.uploads.status(id_in(address)).ready
    response = client.send(address, 5, b"56789", **{"Upload-Length": "10"})
    assert response.status_code == 204
    assert client.content(address) == b"0123456789"


def test_a_length_that_is_said_alone(client: Uploading) -> None:
    """All bytes are there before anybody says so: tus-js-client ends so."""
    address = client.begin(None)
    client.send(address, 0, b"01234")
    assert client.send(address, 5, b"", **{"Upload-Length": "5"}).status_code == 204
    assert client.content(address) == b"01234"


def test_a_length_that_is_another(client: Uploading) -> None:
    address = client.begin(10)
    response = client.send(address, 0, b"01234", **{"Upload-Length": "11"})
    assert response.status_code == 400
    found = told(response)
    assert (found["known-length"], found["provided-length"]) == (10, 11)


# Checksums


@pytest.mark.parametrize("name", ["sha1", "sha256"])
def test_a_checksum(client: Uploading, name: str) -> None:
    address = client.begin(10)
    checksum = checksum_of(b"0123456789", name)
    response = client.send(address, 0, b"0123456789", **{"Upload-Checksum": checksum})
    assert response.status_code == 204
    assert client.content(address) == b"0123456789"


def test_crc32c(client: Uploading) -> None:
    """The check value of the algorithm's catalogue."""
    address = client.begin(9)
    response = client.send(address, 0, b"123456789", **{"Upload-Checksum": "crc32c 4waSgw=="})
    assert response.status_code == 204


def test_a_wrong_checksum(client: Uploading) -> None:
    """Nothing of the piece is kept."""
    address = client.begin(10)
    client.send(address, 0, b"01234")
    response = client.send(address, 5, b"56789", **{"Upload-Checksum": checksum_of(b"other")})
    assert response.status_code == 460
    assert client.offset(address) == 5
    assert client.send(address, 5, b"56789").status_code == 204


def test_an_unknown_checksum(client: Uploading) -> None:
    address = client.begin(10)
    response = client.send(address, 0, b"01234", **{"Upload-Checksum": "md5 AAAA"})
    assert response.status_code == 400
    assert client.offset(address) == 0


def test_a_trailer_where_the_server_gives_none(client: Uploading) -> None:
    address = client.begin(10)
    response = client.send(address, 0, b"01234", Trailer="Upload-Checksum")
    assert response.status_code == 400
    assert client.offset(address) == 0


# Termination, expiration


def test_termination(client: Uploading) -> None:
    address = client.begin(10)
    assert client.ask("DELETE", address, headers=TUS).status_code == 204
    assert client.ask("HEAD", address, headers=TUS).status_code in (404, 410)


def test_expiration(client: Uploading) -> None:
    address = client.begin(10)
    assert client.ask("HEAD", address, headers=TUS).headers["Upload-Expires"].endswith(" GMT")


# Concatenation


def part(client: Uploading, data: bytes) -> str:
    address = client.begin(len(data), **{"Upload-Concat": "partial"})
    assert client.send(address, 0, data).status_code == 204
    return address


def test_concatenation(client: Uploading) -> None:
    parts = [part(client, data) for data in (b"012", b"34567", b"89")]
    head = client.ask("HEAD", parts[0], headers=TUS)
    assert head.headers["Upload-Concat"] == "partial"
    final = {**TUS, "Upload-Concat": f"final;{' '.join(parts)}"}
    response = client.ask("POST", headers=final)
    assert response.status_code == 201
    address = f"/{response.headers['Location']}"
    head = client.ask("HEAD", address, headers=TUS)
    assert head.headers["Upload-Length"] == head.headers["Upload-Offset"] == "10"
    assert head.headers["Upload-Concat"] == f"final;{' '.join(map(id_in, parts))}"
    assert client.content(address) == b"0123456789"


def test_nothing_is_added_to_a_concatenation(client: Uploading) -> None:
    final = {**TUS, "Upload-Concat": f"final;{part(client, b'012')}"}
    address = f"/{client.ask('POST', headers=final).headers['Location']}"
    assert client.send(address, 3, b"x").status_code == 403


def test_a_concatenation_of_what_is_no_part(client: Uploading) -> None:
    """Whole uploads, unfinished ones, others' ones, guessed ones."""
    whole = client.begin(1)
    client.send(whole, 0, b"x")
    unfinished = client.begin(10, **{"Upload-Concat": "partial"})
    for address in (whole, unfinished, "/files/guessed"):
        final = {**TUS, "Upload-Concat": f"final;{part(client, b'012')} {address}"}
        assert client.ask("POST", headers=final).status_code in (400, 404)
