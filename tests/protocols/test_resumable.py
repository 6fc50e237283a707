"""The IETF's resumable uploads, request by request, in each of its dialects."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

import pytest
from uploads_in_process import PART, Uploading, id_in, told
from werkzeug.test import TestResponse
from werkzeug.wrappers import Response

from cooperative_upload.exchange import SEND_INTERIM
from cooperative_upload.protocols.dialects import DIALECTS
from cooperative_upload.uploads import Limits, Upload

each_dialect = pytest.mark.parametrize("interop", [number and str(number) for number in DIALECTS])


def fields(complete: bool, interop: str | None = None, **more: str) -> dict[str, str]:
    numbered = {} if interop is None else {"Upload-Draft-Interop-Version": interop}
    return {"Upload-Complete": "?1" if complete else "?0", **numbered, **more}


def begin(client: Uploading, data: bytes = b"", **more: str) -> str:
    """The address of an upload that is not complete."""
    response = client.ask("POST", headers=fields(False, **more), data=data)
    assert response.status_code == 201, response.get_data()
    return f"/{response.headers['Location']}"


def send(
    client: Uploading, address: str, offset: int, data: bytes, complete: bool, **more: str
) -> TestResponse:
    headers = {**PART, **fields(complete), "Upload-Offset": str(offset), **more}
    return client.ask("PATCH", address, headers=headers, data=data)


def digest_of(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


# The way of an upload


@each_dialect
def test_all_in_one_request(client: Uploading, interop: str | None) -> None:
    """Any method that has content."""
    for method in ("POST", "PUT"):
        response = client.ask(method, headers=fields(True, interop), data=b"0123456789")
        assert response.status_code == 200
        assert response.headers["Upload-Complete"] == "?1"
        assert response.headers.get("Upload-Draft-Interop-Version") == interop
        found = told(response)
        assert (found["name"], found["size"]) == (None, 10)
        assert client.content(f"/{found['id']}") == b"0123456789"


@each_dialect
def test_in_several_requests(client: Uploading, interop: str | None) -> None:
    response = client.ask("POST", headers=fields(False, interop), data=b"012")
    assert response.status_code == 201
    assert response.headers["Upload-Complete"] == "?0"
    assert response.headers["Upload-Offset"] == "3"
    address = f"/{response.headers['Location']}"
    headers = {**PART, **fields(False, interop), "Upload-Offset": "3"}
    response = client.ask("PATCH", address, headers=headers, data=b"3456")
    assert (response.status_code, response.headers["Upload-Complete"]) == (204, "?0")
    head = client.ask("HEAD", address, headers=fields(False, interop))
    assert head.status_code == 204
    assert head.headers["Upload-Offset"] == "7"
    assert head.headers["Upload-Complete"] == "?0"
    assert head.headers["Cache-Control"] == "no-store"
    headers = {**PART, **fields(True, interop), "Upload-Offset": "7"}
    response = client.ask("PATCH", address, headers=headers, data=b"789")
    assert (response.status_code, response.headers["Upload-Complete"]) == (200, "?1")
    assert client.content(address) == b"0123456789"
    head = client.ask("HEAD", address)
    assert head.headers["Upload-Complete"] == "?1"
    assert head.headers["Upload-Length"] == head.headers["Upload-Offset"] == "10"


def test_version_6_takes_absence_for_the_end(client: Uploading) -> None:
    """Later ones demand that it is said."""
    address = begin(client)
    headers = {**PART, "Upload-Offset": "0"}
    assert client.ask("PATCH", address, headers=headers, data=b"012").status_code == 400
    headers["Upload-Draft-Interop-Version"] = "6"
    assert client.ask("PATCH", address, headers=headers, data=b"012").status_code == 200
    assert client.content(address) == b"012"


def test_the_length_is_not_the_end(client: Uploading) -> None:
    """All bytes are there, and nobody has said that these are all."""
    address = begin(client, b"0123", **{"Upload-Length": "4"})
    head = client.ask("HEAD", address)
    assert head.headers["Upload-Offset"] == head.headers["Upload-Length"] == "4"
    assert head.headers["Upload-Complete"] == "?0"
    assert send(client, address, 4, b"", True).status_code == 200
    assert client.content(address) == b"0123"


def test_who_did_not_hear_the_answer_gets_it_again(client: Uploading) -> None:
    address = begin(client)
    first = send(client, address, 0, b"0123", True)
    again = send(client, address, 4, b"", True)
    assert first.get_data() == again.get_data()
    assert again.headers["Upload-Complete"] == "?1"


def test_an_answer_of_the_application_is_made_once(
    uploading_with: Callable[..., Uploading],
) -> None:
    made: list[str] = []

    def answer(upload: Upload) -> Response:
        made.append(upload.id)
        return Response(json.dumps(len(made)), 202, {"X-Made": "here"}, mimetype="text/x-made")

    client = uploading_with(answer=answer)
    address = begin(client)
    for offset, data in ((0, b"0123"), (4, b""), (4, b"")):
        response = send(client, address, offset, data, True)
        assert response.status_code == 202
        assert (response.text, response.mimetype) == ("1", "text/x-made")
        assert response.headers["X-Made"] == "here"
    assert made == [id_in(address)]


def test_cancellation(client: Uploading) -> None:
    address = begin(client, b"012")
    assert client.ask("DELETE", address).status_code == 204
    assert client.ask("HEAD", address).status_code in (404, 410)


def test_names_and_types(client: Uploading) -> None:
    disposition = "inline; filename=\"x.pdf\"; filename*=UTF-8''Stra%C3%9Fe.pdf"
    more = {"Content-Disposition": disposition, "Content-Type": "application/pdf"}
    upload = client.uploads.status(id_in(begin(client, b"", **more)))
    assert (upload.name, upload.content_type) == ("Straße.pdf", "application/pdf")


# What goes wrong


def test_another_offset(client: Uploading) -> None:
    address = begin(client, b"012")
    response = send(client, address, 2, b"2345", False)
    assert response.status_code == 409
    assert response.headers["Upload-Offset"] == "3"
    assert response.headers["Upload-Complete"] == "?0"
    assert told(response) == {
        "type": "https://iana.org/assignments/http-problem-types#mismatching-upload-offset",
        "title": "Conflict",
        "status": 409,
        "detail": "The upload goes on at byte 3, and what was sent begins at 2.",
        "expected-offset": 3,
        "provided-offset": 2,
    }


@pytest.mark.parametrize("length", ["2", "4"])
def test_two_lengths(client: Uploading, length: str) -> None:
    headers = fields(True, **{"Upload-Length": length})
    response = client.ask("POST", headers=headers, data=b"012")
    assert response.status_code == 400
    found = told(response)
    assert found["type"].endswith("#inconsistent-upload-length")
    assert (found["known-length"], found["provided-length"]) == (int(length), 3)


@pytest.mark.parametrize("length", ["-1", "?1", "1.5", '"3"'])
def test_what_is_no_length_is_ignored(client: Uploading, length: str) -> None:
    headers = fields(True, **{"Upload-Length": length})
    assert client.ask("POST", headers=headers, data=b"012").status_code == 200


def test_an_over_long_upload_is_over(client: Uploading) -> None:
    address = begin(client, b"01", **{"Upload-Length": "4"})
    response = send(client, address, 2, b"234", True)
    assert response.status_code == 400
    assert told(response)["type"].endswith("#inconsistent-upload-length")
    assert 400 <= client.ask("HEAD", address).status_code <= 499
    assert 400 <= send(client, address, 2, b"23", True).status_code <= 499


def test_more_behind_the_end(client: Uploading) -> None:
    """The upload stays what it is."""
    address = begin(client)
    send(client, address, 0, b"0123", True)
    response = send(client, address, 4, b"4", True)
    assert response.status_code == 400
    assert client.content(address) == b"0123"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Offset": ""}, 400),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Complete": "true"}, 400),
    ],
)
def test_parts_that_are_none(client: Uploading, headers: dict[str, str], status: int) -> None:
    address = begin(client)
    response = send(client, address, 0, b"012", False, **headers)
    assert response.status_code == status
    assert client.ask("HEAD", address).headers["Upload-Offset"] == "0"
    if status == 415:
        assert response.headers["Accept-Patch"] == "application/partial-upload"


def test_no_upload_without_upload_complete(client: Uploading) -> None:
    assert client.ask("POST", data=b"012").status_code == 400


# Limits


def test_limits(uploading_with: Callable[..., Uploading]) -> None:
    client = uploading_with(limits=Limits(upload_bytes=1000))
    options = client.ask("OPTIONS")
    assert options.headers["Upload-Limit"] == "max-size=1000"
    assert options.headers["Accept-Patch"] == "application/partial-upload"
    response = client.ask("POST", headers=fields(False, **{"Upload-Length": "1001"}))
    assert response.status_code == 413
    head = client.ask("HEAD", begin(client))
    size, age = head.headers["Upload-Limit"].split(", ")
    assert size == "max-size=1000"
    assert age.startswith("max-age=")


def test_no_limits(client: Uploading) -> None:
    """The field says so: without it nobody knows whether uploads are resumed here."""
    assert client.ask("OPTIONS").headers["Upload-Limit"] == "min-size=0"


def test_version_6_calls_the_age_by_another_name(client: Uploading) -> None:
    head = client.ask("HEAD", begin(client), headers=fields(False, "6"))
    assert head.headers["Upload-Limit"].startswith("expires=")


# Digests (RFC 9530)


def test_digests_of_the_whole(client: Uploading) -> None:
    for name in ("Repr-Digest", "Content-Digest"):
        right = fields(True, **{name: digest_of(b"0123")})
        assert client.ask("POST", headers=right, data=b"0123").status_code == 200


def test_the_digest_of_a_part(client: Uploading) -> None:
    address = begin(client)
    wrong = {"Content-Digest": digest_of(b"other")}
    assert send(client, address, 0, b"0123", False, **wrong).status_code == 400
    assert client.ask("HEAD", address).headers["Upload-Offset"] == "0"
    assert send(client, address, 0, b"0123", True, **wrong).status_code == 400
    right = {"Content-Digest": digest_of(b"0123")}
    assert send(client, address, 0, b"0123", False, **right).status_code == 204


# 104


@each_dialect
def test_where_the_upload_is_before_its_content(client: Uploading, interop: str | None) -> None:
    """For clients of a draft, where the server can send it."""
    sent: list[tuple[int, str, list[tuple[str, str]]]] = []
    environ = {SEND_INTERIM: lambda *parts: sent.append(parts)}
    response = client.ask(
        "POST", headers=fields(True, interop), data=b"0123", environ_overrides=environ
    )
    if interop is None:
        assert sent == []
        return
    ((status, phrase, headers),) = sent
    assert (status, phrase) == (104, "Upload Resumption Supported")
    assert dict(headers)["Upload-Draft-Interop-Version"] == interop
    assert dict(headers)["Location"] == f"files/{told(response)['id']}"
    assert "Upload-Limit" in dict(headers)
