"""Every header that this package reads, over any bytes: an answer or a refusal, never a 500."""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from wsgi import call, environ

from cooperative_upload import StatusPage, UploadProgress
from cooperative_upload.errors import RequestError
from cooperative_upload.forms.digests import announced_digests
from cooperative_upload.forms.streaming import receive, stream_parts
from cooperative_upload.middleware import CooperativeUploadMiddleware

DATA = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--\r\n"
SHA256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()

READ = [
    *("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_RANGE"),
    *("HTTP_CONTENT_DIGEST", "HTTP_REPR_DIGEST", "HTTP_CONTENT_MD5", "HTTP_AUTHORIZATION"),
    *("HTTP_X_PROGRESS_ID", "HTTP_ACCEPT", "HTTP_LAST_EVENT_ID", "QUERY_STRING"),
    *("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_ORIGIN", "REMOTE_ADDR", "HTTP_HOST"),
]
BEGINNINGS = [
    *("", "Basic ", "Bearer ", "bytes ", "bytes 0-", "sha-256=:", "sha-256=:AAAA:;a=", "chunked"),
    *("multipart/form-data; boundary=", "multipart/form-data; boundary*=utf-8''", "text/", "q="),
    *("multipart/form-data; boundary*0=", "X-Progress-ID=", "for=", "1"),
]
# As WSGI has them (PEP 3333): bytes, told as latin-1.
values = st.builds(
    lambda beginning, rest: beginning + rest.decode("latin-1"),
    st.sampled_from(BEGINNINGS),
    st.binary(max_size=20),
)
ADMIN = {"HTTP_AUTHORIZATION": "Basic \xe4"}


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(READ), values, max_size=4), st.booleans())
@example({"HTTP_CONTENT_MD5": "\xe4"}, True)
@example(ADMIN, True)
@example({"CONTENT_TYPE": "multipart/form-data; boundary=\xe4"}, True)
def test_never_a_500(headers: dict[str, str], accept_range: bool) -> None:
    """What is raised is a client's error; what is answered is no server's."""
    request = {**environ(DATA, CONTENT_TYPE="multipart/form-data; boundary=b"), **headers}

    def code_of(function: Any) -> int:
        try:
            function({**request, "wsgi.input": io.BytesIO(DATA)})
        except (RequestError, HTTPException) as error:
            return error.code or 0
        return 200

    with tempfile.TemporaryDirectory() as directory:
        stored = partial(
            receive, target=f"{directory}/target", accept_range=accept_range, fsync=False
        )
        assert 200 <= code_of(stored) < 500
    parts = partial(stream_parts, accept_range=accept_range)
    assert 200 <= code_of(lambda of: [part.read() for part in parts(of)]) < 500
    for application in APPLICATIONS:
        get = {**request, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(DATA)}
        assert call(application, get).status < 500


def reading(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads the body as any application does."""
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return []


APPLICATIONS: list[Any] = [
    StatusPage(token="a-long-secret-token"),
    StatusPage(allow=["192.0.2.0/24"]),
    UploadProgress(most_streams=0),
    CooperativeUploadMiddleware(reading, patch_werkzeug=False),
]


@pytest.mark.parametrize(
    "parameters", [";a", ";a=1", ';a="x,y"', ';a="\\"," ; b', ';a="x;y";b=","', ""]
)
def test_parameters_of_a_digest(parameters: str) -> None:
    """They mean nothing, whatever stands in them (RFC 8941 section 3.1.2)."""
    header = f"sha-256=:{SHA256}:{parameters}, md5=:AAAA:"
    assert announced_digests({"HTTP_CONTENT_DIGEST": header}) == [
        ("sha-256", hashlib.sha256(DATA).digest()),
        ("md5", b"\0\0\0"),
    ]
