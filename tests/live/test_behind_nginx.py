"""What an nginx in front, set up as the documentation says, makes of a client's address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import ROOT
from live_server import COOPERATIVE, STOCK, Gunicorn, LiveServer
from nginx import needs_nginx, nginx_with, status_behind

APPLICATION = "status_application:application"

# The page that lists 127.0.0.1, and the one that lists LISTED and asks ProxyFix who the client is.
LISTS_THIS_HOST, LISTS_A_CLIENT = "/upload-status/", "/upload-behind-proxyfix/"
LISTED, OTHER = "127.0.0.2", "127.0.0.3"
CLAIM = {"X-Forwarded-For": LISTED}

SNIPPETS = [
    snippet
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for snippet in re.findall(r"```nginx\n(.*?)```", page.read_text(), re.DOTALL)
]

pytestmark = needs_nginx


def protocol_of(snippet: str) -> str:
    return "uwsgi" if "uwsgi_pass" in snippet else "http"


def as_directives(snippet: str, server: LiveServer) -> str:
    """The snippet for that server; one that is about headers alone with what passes them on."""
    if "_pass" not in snippet:
        snippet += "location / { proxy_pass http://127.0.0.1:8000; }"
    return snippet.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")


def behind(
    gunicorn: Gunicorn, worker: str, protocol: str, application: str = APPLICATION
) -> LiveServer:
    return LiveServer(
        gunicorn,
        "--protocol",
        protocol,
        application=application,
        worker=worker,
        ready=lambda server: server.port,
    )


@pytest.mark.parametrize("worker", [COOPERATIVE, STOCK])
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_of_the_documentation(
    gunicorn: Gunicorn, worker: str, snippet: str, tmp_path: Path
) -> None:
    """Nobody is let in for nginx's address, and who is listed is, whatever a client claims."""
    with (
        behind(gunicorn, worker, protocol_of(snippet)) as server,
        nginx_with(as_directives(snippet, server), tmp_path) as port,
    ):
        for address in ("127.0.0.1", LISTED, OTHER):
            for headers in ({}, CLAIM):
                assert status_behind(port, address, LISTS_THIS_HOST, headers) == 403
                expected = 200 if address == LISTED else 403
                assert status_behind(port, address, LISTS_A_CLIENT, headers) == expected


def test_the_snippets_are_found() -> None:
    """Of both protocols."""
    assert {protocol_of(snippet) for snippet in SNIPPETS} == {"http", "uwsgi"}


UWSGI_ALONE = "location / { include uwsgi_params; uwsgi_pass 127.0.0.1:8000; }"


@pytest.mark.parametrize(
    ("worker", "application"),
    [
        (COOPERATIVE, APPLICATION),
        (STOCK, APPLICATION),
        (COOPERATIVE, "status_application:out_of_reach"),
    ],
)
def test_the_uwsgi_protocol_is_a_proxys(
    gunicorn: Gunicorn, worker: str, application: str, tmp_path: Path
) -> None:
    """With Debian's parameters alone: gunicorn ignores their REMOTE_ADDR."""
    with (
        behind(gunicorn, worker, "uwsgi", application) as server,
        nginx_with(as_directives(UWSGI_ALONE, server), tmp_path) as port,
    ):
        assert status_behind(port, OTHER, LISTS_THIS_HOST) == 403
        assert status_behind(port, LISTED, LISTS_A_CLIENT) == 403


def test_an_nginx_that_says_nothing(newest: Gunicorn, tmp_path: Path) -> None:
    """It can't be told from a client of this host, and that is said, once."""
    with (
        behind(newest, COOPERATIVE, "http") as server,
        nginx_with(
            as_directives("location / { proxy_pass http://127.0.0.1:8000; }", server), tmp_path
        ) as port,
    ):
        assert status_behind(port, LISTED, LISTS_A_CLIENT) == 403
        assert "StatusPage" not in server.log()
        for _ in range(2):
            assert status_behind(port, OTHER, LISTS_THIS_HOST) == 200
        server.wait_for_log(
            "StatusPage(allow=[...]) has let in 127.0.0.1, an address of this host"
        )
        assert server.log().count("StatusPage(allow=[...])") == 1
