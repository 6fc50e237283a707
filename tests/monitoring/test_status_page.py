"""Who is let in to the status page, and what it answers, without a server or a browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Iterable
from typing import Any

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from wsgi import Call, call, environ

import cooperative_upload
from cooperative_upload import SettingsError, StatusPage, overview
from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import ENDINGS, EVENTS, GAUGES, NUMBERS

TOKEN = "kQ3vT9-eY_7wLr2MzX0a"
FORWARDED = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}


def get(page: Any, path: str = "/", **more: Any) -> Call:
    return call(page, environ(**{"REQUEST_METHOD": "GET", "PATH_INFO": path, **more}))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Who is let in


@pytest.mark.parametrize(
    ("allow", "address"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.0/24"], "192.0.2.7"),
        (["2001:db8::/32"], "2001:db8::7"),
        (["192.0.2.0/24"], "::ffff:192.0.2.7"),  # a socket for IPv4 and IPv6
        (["::ffff:192.0.2.0/120"], "::ffff:192.0.2.7"),
        (["::1"], "::1"),
    ],
)
def test_addresses_on_the_list_are_let_in(allow: list[str], address: str) -> None:
    assert get(StatusPage(allow), REMOTE_ADDR=address).status == 200


@pytest.mark.parametrize("address", ["192.0.3.7", "2001:db8::7", "::ffff:192.0.3.7", "localhost"])
def test_other_addresses_are_refused(address: str) -> None:
    """Some servers say localhost for a Unix socket."""
    refused = get(StatusPage(["192.0.2.0/24", "::1"]), REMOTE_ADDR=address)
    assert refused.status == 403
    assert f"The address {address} is not one" in refused.body.decode()
    assert "StatusPage(allow=[...])" in refused.body.decode()


def test_by_default_everybody_is_refused_and_told_what_to_set() -> None:
    for address in ("127.0.0.1", "::1", ""):
        refused = get(StatusPage(), REMOTE_ADDR=address, HTTP_AUTHORIZATION="Bearer ")
        assert refused.status == 403
        assert refused.body.startswith(b"Nobody is allowed to see this page yet. Whoever runs")
        assert b"StatusPage(token=...)" in refused.body
        assert b"StatusPage(allow=[...])" in refused.body
        assert "WWW-Authenticate" not in refused.headers  # there is no password to know


@pytest.mark.parametrize("environ", [{"REMOTE_ADDR": ""}, {"REMOTE_ADDR": None}])
def test_a_unix_socket_is_on_no_list(environ: dict[str, Any]) -> None:
    refused = get(StatusPage(["0.0.0.0/0", "::/0"]), **environ)
    assert refused.status == 403
    assert b"Unix socket" in refused.body
    assert b"StatusPage(token=...)" in refused.body


@pytest.mark.parametrize(
    ("variable", "header"),
    [
        ("HTTP_X_FORWARDED_FOR", "X-Forwarded-For"),
        ("HTTP_X_FORWARDED_PROTO", "X-Forwarded-Proto"),
        ("HTTP_FORWARDED", "Forwarded"),
        ("HTTP_X_REAL_IP", "X-Real-Ip"),
        ("HTTP_VIA", "Via"),
    ],
)
def test_the_address_of_a_proxy_does_not_count(variable: str, header: str) -> None:
    """Behind nginx on the same host everybody comes from 127.0.0.1."""
    page = StatusPage(["127.0.0.1"])
    refused = get(page, REMOTE_ADDR="127.0.0.1", **{variable: ""})
    assert refused.status == 403
    assert f"its header {header} says" in refused.body.decode()
    assert b"werkzeug's ProxyFix" in refused.body
    assert get(page, REMOTE_ADDR="127.0.0.1").status == 200
    over_a_unix_socket = get(page, REMOTE_ADDR="", **{variable: "127.0.0.1"})
    assert over_a_unix_socket.status == 403
    assert b"Where it came from, a Unix socket, is the same" in over_a_unix_socket.body


def test_the_address_that_proxyfix_puts_there_counts() -> None:
    assert get(ProxyFix(StatusPage(["192.0.2.7"])), **FORWARDED).status == 200
    assert get(ProxyFix(StatusPage(["127.0.0.1"])), **FORWARDED).status == 403
    over_a_unix_socket = {**FORWARDED, "REMOTE_ADDR": ""}
    assert get(ProxyFix(StatusPage(["192.0.2.7"])), **over_a_unix_socket).status == 200
    assert get(ProxyFix(StatusPage(["192.0.2.8"])), **over_a_unix_socket).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7", "trusted": 0},  # it looks after other headers
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7", "trusted": 2},
        {"HTTP_X_REAL_IP": "192.0.2.7", "trusted": 1},  # which it does not know
    ],
)
def test_a_proxyfix_that_left_the_address_as_it_was_changes_nothing(
    headers: dict[str, Any],
) -> None:
    page = ProxyFix(StatusPage(["127.0.0.1"]), x_for=headers.pop("trusted"))
    refused = get(page, REMOTE_ADDR="127.0.0.1", **headers)
    assert refused.status == 403
    assert b"passed on by a proxy" in refused.body


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("", TOKEN), basic("anybody", TOKEN)],
)
@pytest.mark.parametrize("environ", [{}, FORWARDED, {"REMOTE_ADDR": ""}])
def test_who_knows_the_token_is_let_in(authorization: str, environ: dict[str, str]) -> None:
    """Wherever the request came from, and whether or not there is a list too."""
    for page in (StatusPage(token=TOKEN), StatusPage(["198.51.100.1"], token=TOKEN)):
        assert get(page, HTTP_AUTHORIZATION=authorization, **environ).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.lower()}",
        f"Bearer token={TOKEN}",
        f"Digest {TOKEN}",
        TOKEN,
        basic(TOKEN, ""),
        basic("anybody", TOKEN + ":"),
        basic("anybody", "pässword-ångström"),
        "Basic !!!",
        "Bearer \xe4\xf6\xfc",
    ],
)
def test_without_the_token_one_is_asked_for_it(authorization: str) -> None:
    refused = get(StatusPage(token=TOKEN), HTTP_AUTHORIZATION=authorization)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert refused.body.startswith(b"This page needs its token")
    assert TOKEN.encode() not in refused.body


def test_an_address_on_the_list_needs_no_token() -> None:
    page = StatusPage(["192.0.2.7"], token=TOKEN)
    assert get(page, REMOTE_ADDR="192.0.2.7").status == 200
    refused = get(page, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.7")
    assert refused.status == 401
    assert b"passed on by a proxy" in refused.body


# What it is made with


@pytest.mark.parametrize(
    ("allow", "named"),
    [
        (["127.0.0.1", "192.0.2.7/24"], "192.0.2.7/24"),  # bits behind the network's
        (["localhost"], "localhost"),
        ([""], "''"),
        ([1], "1"),  # ipaddress takes numbers
        ([None], "None"),
        ("127.0.0.1", "127.0.0.1"),  # a text is a list of characters
    ],
)
def test_bad_addresses_are_named(allow: Iterable[Any], named: str) -> None:
    with pytest.raises(SettingsError, match=f"allow: .*{re.escape(named)}"):
        StatusPage(allow)


@pytest.mark.parametrize("token", ["", "x" * 15, "sixteen letters!", "ä" * 20, b"x" * 20, 10**20])
def test_bad_tokens_are_refused_and_not_told(token: Any) -> None:
    with pytest.raises(SettingsError, match=r"^token: ") as refused:
        StatusPage(token=token)
    assert not token or str(token) not in str(refused.value)


def test_sixteen_characters_are_enough() -> None:
    token = "abcdefghijklmno="
    assert get(StatusPage(token=token), HTTP_AUTHORIZATION=f"Bearer {token}").status == 200


# What it answers

PAGE = StatusPage(["192.0.2.7"])


@pytest.mark.parametrize("path", ["//", "/status", "/status.json/", "/index.html", "/favicon.ico"])
def test_there_is_nothing_else(path: str) -> None:
    assert get(PAGE, path).status == 404
    assert get(PAGE, path, REMOTE_ADDR="192.0.2.8").status == 403


@pytest.mark.parametrize("path", ["/", "/status.json"])
def test_it_can_only_be_read(path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        refused = get(PAGE, path, REQUEST_METHOD=method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    head = get(PAGE, path, REQUEST_METHOD="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) > 500
    assert head.headers["Content-Type"] == get(PAGE, path).headers["Content-Type"]


@pytest.mark.parametrize(
    ("mount", "location"),
    [
        ("/upload-status", "./upload-status/"),
        ("/deep/below", "./below/"),
        ("//elsewhere.example", "./elsewhere.example/"),  # no other host
        ("/a b\xc3\xa4:c", "./a%20b%C3%A4%3Ac/"),
        ("", "./"),
    ],
)
def test_without_its_slash_it_leads_to_itself(mount: str, location: str) -> None:
    """Relative, so that it also does behind a proxy that shows it elsewhere, and before anybody
    is asked for a password, which a browser sends to all that lies beside what asked for it."""
    page = DispatcherMiddleware(lambda *_: [], {mount: StatusPage(token=TOKEN)})
    redirected = get(page, mount)
    assert (redirected.status, redirected.headers["Location"]) == (308, location)


def test_all_answers_say_what_browsers_may_do_with_them() -> None:
    answers = [
        get(PAGE),
        get(PAGE, "/status.json"),
        get(PAGE, "/nothing"),
        get(PAGE, ""),
        get(PAGE, REQUEST_METHOD="POST"),
        get(PAGE, REMOTE_ADDR="192.0.2.8"),
        get(StatusPage(token=TOKEN)),
    ]
    assert [answer.status for answer in answers] == [200, 200, 404, 308, 405, 403, 401]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_the_page_allows_its_own_style_and_script_alone() -> None:
    answer = get(PAGE)
    page = answer.body.decode()
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"; {kind}-src 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"""\son\w+=|\sstyle=|https?://(?!www\.w3\.org/2000/svg)""", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", page)


def test_the_page_tells_what_each_number_means() -> None:
    page = get(PAGE).body.decode()
    for name, meaning in {**ENDINGS, **EVENTS, **GAUGES}.items():
        assert re.search(f'data-number="{name}".*{re.escape(meaning)}', page), name
    assert "<!--" not in page


def test_the_data_is_the_overview_with_the_time() -> None:
    upload = monitor.Upload("PUT", "/files/ä\udce4", "192.0.2.9", 1000)
    upload.record.received = 250
    try:
        before, answer, after = time.time(), get(PAGE, "/status.json"), time.time()
        expected = json.loads(json.dumps(dataclasses.asdict(overview())))
    finally:
        upload.ended("incomplete")
    status = json.loads(answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    assert before <= status.pop("time") <= after
    assert without_time(status) == without_time(expected)
    assert status["numbers"].keys() == set(NUMBERS)
    (found,) = (each for each in status["uploads"] if each["client"] == "192.0.2.9")
    assert (found["received"], found["expected"], found["method"]) == (250, 1000, "PUT")
    assert found["path"] == "/files/ä�"


def without_time(status: dict[str, Any]) -> dict[str, Any]:
    """Without what changes from one moment to the next."""
    passing = ("seconds", "silent_seconds")
    for each in (*status["workers"], *status["uploads"]):
        for name in passing:
            each.pop(name, None)
    return status


def test_it_is_public() -> None:
    assert "StatusPage" in cooperative_upload.__all__
