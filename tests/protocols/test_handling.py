"""What holds for every protocol: who may, what is told of errors, addresses, CORS, frameworks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from flask import Flask, g
from uploads_in_process import BYTES, TUS, Uploading, id_in, told
from werkzeug.datastructures import Headers, WWWAuthenticate
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests, Unauthorized
from werkzeug.test import Client, EnvironBuilder

from cooperative_upload import DigestMismatch
from cooperative_upload.protocols import Cors, Request, Uploads
from cooperative_upload.protocols.django_view import DJANGO_REQUEST, uploads_view
from cooperative_upload.protocols.flask_blueprint import uploads_blueprint
from cooperative_upload.uploads import Grant, Limits, State

RESUMABLE = {"Upload-Complete": "?0"}


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not django_settings.configured:
        django_settings.configure()


def by_header(request: Request) -> str | None:
    return request.field("X-Owner") or None


# Who may


def test_who_may_not_upload_leaves_nothing(uploading_with: Callable[..., Uploading]) -> None:
    client = uploading_with(authorize=by_header)
    for headers in ({**TUS, "Upload-Length": "1"}, RESUMABLE):
        response = client.ask("POST", headers=headers)
        assert response.status_code == 403
        assert response.headers["Content-Type"] == "application/problem+json"
    assert client.uploads.of_owner("", states=list(State)).uploads == ()


def test_refusals_of_the_application_keep_their_headers(
    uploading_with: Callable[..., Uploading],
) -> None:
    def authorize(request: Request) -> str:
        raise Unauthorized("Log in.", www_authenticate=WWWAuthenticate("basic"))

    response = uploading_with(authorize=authorize).ask("POST", headers=RESUMABLE)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Basic")


def test_an_upload_of_another_is_not_there(uploading_with: Callable[..., Uploading]) -> None:
    client = uploading_with(authorize=by_header)
    address = client.begin(3, **{"X-Owner": "a"})
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {**BYTES, "Upload-Offset": "0", "X-Owner": "b"}
        assert client.ask(method, address, headers=headers).status_code == 404
    part = client.begin(1, **{"X-Owner": "a", "Upload-Concat": "partial"})
    assert client.send(part, 0, b"x", **{"X-Owner": "a"}).status_code == 204
    final = {**TUS, "X-Owner": "b", "Upload-Concat": f"final;{part}"}
    assert client.ask("POST", headers=final).status_code in (400, 404)
    assert client.send(address, 0, b"012", **{"X-Owner": "a"}).status_code == 204


def test_limits_of_an_owner(uploading_with: Callable[..., Uploading]) -> None:
    def authorize(request: Request) -> Grant:
        return Grant("a", Limits(upload_bytes=10))

    client = uploading_with(authorize=authorize, limits=Limits(upload_bytes=100))
    assert client.ask("OPTIONS").headers["Tus-Max-Size"] == "100"
    response = client.ask("POST", headers={**TUS, "Upload-Length": "11"})
    assert response.status_code == 413
    assert {"limit": 10, "size": 11}.items() <= told(response).items()


@pytest.mark.parametrize("id", ["..%2f..", "a%00b", "%ff", "a/b", "x" * 200, "."])
def test_what_is_no_id(client: Uploading, id: str) -> None:
    assert client.ask("HEAD", f"/files/{id}", headers=TUS).status_code == 404


# How far an upload is


@pytest.mark.parametrize(
    "error",
    [Unauthorized(), TooManyRequests(), ServiceUnavailable(), OSError(5, "I/O"), KeyError("x")],
    ids=lambda error: type(error).__name__,
)
def test_a_status_question_is_never_answered_with_a_5xx(
    uploading_with: Callable[..., Uploading], error: Exception
) -> None:
    """Nor with what has a client begin anew, or forget where its upload is."""

    def authorize(request: Request) -> str:
        if request.method == "HEAD":
            raise error
        return "a"

    client = uploading_with(authorize=authorize)
    address = client.begin()
    for headers in (TUS, RESUMABLE):
        response = client.ask("HEAD", address, headers=headers)
        assert response.status_code == 423
        assert response.headers["Retry-After"] == "1"


def test_other_faults_are_for_the_framework(uploading_with: Callable[..., Uploading]) -> None:
    def authorize(request: Request) -> str:
        raise KeyError("a fault of the application")

    with pytest.raises(KeyError):
        uploading_with(authorize=authorize).ask("POST", headers=RESUMABLE)


def test_the_log_and_the_counters_know_what_was_wrong(client: Uploading) -> None:
    """How a body ended that is answered here, and not by whoever serves."""
    headers = Headers({**RESUMABLE, "Content-Digest": "sha-256=:AAAA:"})
    builder = EnvironBuilder(method="POST", headers=headers, data=b"0123")
    environ = builder.get_environ()
    assert client.uploads.respond(environ, None).status_code == 400
    assert isinstance(environ["wsgi.input"].rejected_for, DigestMismatch)


# Addresses


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("/files", "files/"),
        ("/files/", ""),
        ("/a/b/files", "files/"),
        ("/%C3%BC", "%C3%BC/"),
        ("/", ""),
    ],
)
def test_addresses_are_relative(client: Uploading, at: str, expected: str) -> None:
    """To what was asked, whatever a proxy makes of host, scheme and path."""
    for headers in ({**TUS, "Upload-Length": "1"}, RESUMABLE):
        environ = EnvironBuilder(at, method="POST", headers=Headers(headers)).get_environ()
        response = client.uploads.respond(environ, None)
        prefix, id = response.headers["Location"].rpartition("/")[::2]
        assert response.headers["Location"] == f"{expected}{id}"
        assert len(id) == 24
        assert prefix == expected.rstrip("/")


# CORS


def test_what_pages_of_others_see(client: Uploading) -> None:
    """Of errors, too: a client has to know that its upload is gone."""
    page = {"Origin": "https://page.example"}
    for response in (
        client.ask("POST", headers={**TUS, "Upload-Length": "1", **page}),
        client.ask("HEAD", "/files/gone", headers={**TUS, **page}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Upload-Offset" in response.headers["Access-Control-Expose-Headers"]


def test_a_preflight_asks_nobody(uploading_with: Callable[..., Uploading]) -> None:
    """It comes without credentials."""
    client = uploading_with(authorize=by_header, cors=Cors(["https://page.example"]))
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "PATCH"}
    response = client.ask("OPTIONS", "/files/any", headers=asked)
    assert response.status_code == 204
    assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
    stranger = client.ask("OPTIONS", headers={**asked, "Origin": "https://other.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


# Frameworks


def test_in_flask(uploading_with: Callable[..., Uploading]) -> None:
    """authorize() is asked within Flask's request."""

    def authorize(request: Request) -> str:
        owner: str = g.owner
        return owner

    uploads = uploading_with(authorize=authorize).uploads
    app = Flask(__name__)

    @app.before_request
    def who() -> None:
        g.owner = "somebody"

    app.register_blueprint(uploads_blueprint(uploads), url_prefix="/files")
    through_flask = through(app)
    assert through_flask(uploads, "/files") == "somebody"
    assert through_flask(uploads, "/files/") == "somebody"


def test_in_django(uploading_with: Callable[..., Uploading]) -> None:
    """authorize() finds Django's own request."""

    def authorize(request: Request) -> str:
        django_request: HttpRequest = request.environ[DJANGO_REQUEST]
        return f"a {type(django_request).__name__}"

    uploads = uploading_with(authorize=authorize).uploads
    view = uploads_view(uploads)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """What Django's handler does with a request, without its settings."""
        request = WSGIRequest(environ)
        id = request.path.removeprefix("/files").strip("/")
        response = view(request, id) if id else view(request)
        status = f"{response.status_code} {response.reason_phrase}"
        start_response(status, list(response.items()))
        return [response.content]

    assert through(application)(uploads, "/files/") == "a WSGIRequest"


def through(app: Any) -> Callable[[Uploads, str], str]:
    """Uploads at an address; whose the upload is."""

    def upload(uploads: Uploads, at: str) -> str:
        client = Client(app)
        assert "PATCH" not in client.options(at).headers.get("Allow", "")
        response = client.post(at, headers={**TUS, "Upload-Length": "3"})
        assert response.status_code == 201, response.text
        address = f"/files/{id_in(response.headers['Location'])}"
        assert client.head(address, headers=TUS).headers["Upload-Offset"] == "0"
        headers = {**BYTES, "Upload-Offset": "0"}
        assert client.patch(address, headers=headers, data=b"012").status_code == 204
        again = client.patch(address, headers=headers, data=b"012")
        assert again.headers["Content-Type"] == "application/problem+json"
        with uploads.open(id_in(address)) as content:
            assert content.read() == b"012"
        owner = uploads.status(id_in(address)).owner
        assert client.delete(address, headers=TUS).status_code == 204
        return owner

    return upload
