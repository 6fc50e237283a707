"""The status page: the uploads in progress, the loops and the counters, for people and programs.

It tells the paths and the addresses of other people's requests. So it keeps three rules:

1. **Nobody is let in by mistake.** Without a list and without a token it refuses everybody. An
   address counts only if it is the client's own: what a proxy has forwarded comes from the proxy's
   address, which is 127.0.0.1 for the whole world where nginx runs on the same host. A proxy that
   does not say that it is one can't be told from a client, so a warning says when an address of
   this host has let somebody in.
2. **Who is refused learns why**, and what whoever runs the server has to set.
3. **Nothing that a client has sent becomes markup.** The page is the same bytes for everybody. Its
   script writes text alone, and the Content-Security-Policy forbids all else, the making of markup
   from text included.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from ..errors import SettingsError
from .board import ENDINGS, EVENTS, GAUGES
from .overview import overview

# 16 random characters of 64 are 96 bits.
_SHORTEST_TOKEN = 16

# What an Authorization header can carry behind "Bearer" (RFC 6750 section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)

# Each says that a proxy has passed the request on.
_FORWARDED = re.compile(r"HTTP_(X_FORWARDED_\w+|FORWARDED|X_REAL_IP|VIA)", re.ASCII)

# What the worker adds to a request that came by a protocol that only proxies speak: which one.
_FORWARDED_BY = "cooperative_upload.forwarded_by"
_UWSGI = "the uwsgi protocol"

_log = logging.getLogger("cooperative_upload")

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NOTHING_ALLOWED = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_OPERATOR = "Whoever runs this server can change that: "
_NOBODY_IS_LISTED = (
    "Nobody is allowed to see this page yet. " + _OPERATOR + "StatusPage(token=...) lets in who "
    "knows the token, and StatusPage(allow=[...]) who comes from one of those addresses."
)
_NO_ADDRESS = (
    "This request has no address, as those over a Unix socket, so no list of addresses can let it "
    "in. " + _OPERATOR + "StatusPage(token=...) lets in who knows the token."
)
_NOT_LISTED = (
    "The address {address} is not one of those that may see this page. " + _OPERATOR + "it has to "
    "be in StatusPage(allow=[...]), or there has to be a token."
)
_FORWARDED_BY_A_PROXY = (
    "This request was passed on by a proxy, as {sign} says. Where it came from, "
    "{address}, is the same for everybody behind that proxy, so it does not count. "
    + _OPERATOR
    + "wrap the application in werkzeug's ProxyFix, which puts the client's own address in its "
    "place, and have the proxy send X-Forwarded-For, or set StatusPage(token=...)."
)
_LETS_IN_A_PROXY = (
    "StatusPage(allow=[...]) has let in %s, an address of this host. If a proxy runs here that "
    "adds no X-Forwarded-For (nginx adds none by itself), all the world comes from there, and is "
    "let in: have it add that header and wrap the application in werkzeug's ProxyFix, or use "
    "StatusPage(token=...) alone. This is said once."
)
_TOKEN_NEEDED = (
    "This page needs its token, as the password of any user name or in the header Authorization: "
    "Bearer. {why}It is the one that whoever runs this server gave to StatusPage(token=...)."
)


def marked_as_uwsgi(application: Callable[..., Any]) -> Callable[..., Any]:
    """The application, whose requests all come by the uwsgi protocol, and say so.

    For the status page below middleware that gives it a start_response of its own.
    """

    def marked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[_FORWARDED_BY] = _UWSGI
        response: Iterable[bytes] = application(environ, start_response)
        return response

    return marked


class StatusPage:
    """A WSGI application, to be mounted where it suits: the page, and below it status.json.

    allow: addresses and networks ("192.0.2.7", "10.0.0.0/8") whose requests are answered. The
        address of a request that a proxy passed on counts only if werkzeug's ProxyFix has
        replaced it by the client's; those of the uwsgi protocol always are. A proxy that does not
        say that it is one can't be told from a client: behind such a one, use a token. A warning
        in the log says so when an address of this host lets somebody in.
    token: who knows it is let in too: as `Authorization: Bearer <token>`, or as the password of
        HTTP Basic, for which browsers ask. At least 16 characters; None for no token.

    With neither it refuses everybody. Raises SettingsError for an address that is none, and for
    a token that is too short or that a header can't carry.
    """

    def __init__(self, allow: Iterable[Any] = (), token: str | None = None) -> None:
        self._networks = _networks(allow)
        self._has_warned = False
        self._token = None if token is None else _checked(token)
        page = _page()
        self._page = page.encode()
        self._page_policy = _policy(page)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if _is_uwsgi(start_response):
            environ = {**environ, _FORWARDED_BY: _UWSGI}
        response = self._response(Request(environ, populate_request=False))
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Content-Security-Policy", _NOTHING_ALLOWED)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _response(self, request: Request) -> Response:
        path = request.environ.get("PATH_INFO", "")
        if not path:  # before a password is asked for, which would then be for more than this
            return _redirect_below(request)
        why_not = self._why_not(request)
        if why_not is not None:
            return why_not
        routes = {"/": self._page_response, "/status.json": _status_response}
        if path not in routes:
            return _text(404, "There is nothing here. The page is at /, its data at /status.json.")
        if request.method not in ("GET", "HEAD"):
            return _text(405, "This can only be read: GET or HEAD.", {"Allow": "GET, HEAD"})
        return routes[path]()

    def _page_response(self) -> Response:
        headers = {"Content-Security-Policy": self._page_policy}
        return Response(self._page, headers=headers, content_type="text/html; charset=utf-8")

    def _why_not(self, request: Request) -> Response | None:
        """The refusal of a request; None if it is allowed."""
        if self._token is not None and _has_token(request, self._token):
            return None
        refusal = self._refused_for(request.environ)
        if refusal is None:
            return None
        if self._token is None:
            return _text(403, refusal)
        why = f"{refusal} " if self._networks else ""
        challenge = {"WWW-Authenticate": 'Basic realm="upload status", charset="UTF-8"'}
        return _text(401, _TOKEN_NEEDED.format(why=why), challenge)

    def _refused_for(self, environ: Mapping[str, Any]) -> str | None:
        """What is wrong with the address that a request came from; None if it is on the list."""
        if not self._networks:
            return _NOBODY_IS_LISTED
        address = environ.get("REMOTE_ADDR") or ""
        is_replaced = _is_replaced(environ)
        sign = "" if is_replaced else _sign_of_a_proxy(environ)
        if sign:
            return _FORWARDED_BY_A_PROXY.format(sign=sign, address=address or "a Unix socket")
        if not address:
            return _NO_ADDRESS
        addresses = _addresses(address)
        if not any(each in network for each in addresses for network in self._networks):
            return _NOT_LISTED.format(address=address)
        if not is_replaced and addresses[-1].is_loopback and not self._has_warned:
            self._has_warned = True
            _log.warning(_LETS_IN_A_PROXY, address)
        return None


def _networks(allow: Iterable[Any]) -> list[IPv4Network | IPv6Network]:
    if isinstance(allow, str):
        raise SettingsError(f"allow: expected a list of addresses, got the text {allow!r}")
    return [_network(value) for value in allow]


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(str(value))  # which takes a number for an address, too
    except ValueError as error:
        raise SettingsError(f"allow: expected addresses, got {value!r}: {error}") from None


def _checked(token: object) -> str:
    """The token. The errors do not tell it: they end in logs."""
    if not isinstance(token, str):
        raise SettingsError(f"token: expected a text, got {type(token).__name__}")
    if len(token) < _SHORTEST_TOKEN:
        raise SettingsError(
            f"token: expected at least {_SHORTEST_TOKEN} characters, got {len(token)}; "
            "secrets.token_urlsafe() makes a good one"
        )
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            "token: a header can carry letters, digits and any of - . _ ~ + /, with = at its end"
        )
    return token


def _has_token(request: Request, token: str) -> bool:
    try:
        given = request.authorization
    except ValueError:  # of base64 that is not ASCII, which werkzeug lets through
        return False
    if given is None:
        return False
    claimed = {"basic": given.password, "bearer": given.token}.get(given.type)
    return claimed is not None and hmac.compare_digest(claimed.encode(), token.encode())


def _is_replaced(environ: Mapping[str, Any]) -> bool:
    """Whether ProxyFix has put the client's address in the place of the proxy's.

    It also says that it was there where it trusts none of the headers.
    """
    before = environ.get("werkzeug.proxy_fix.orig")
    return before is not None and before["REMOTE_ADDR"] != environ.get("REMOTE_ADDR")


def _sign_of_a_proxy(environ: Mapping[str, Any]) -> str:
    """What a proxy is known by that hides the client's address; empty for nothing."""
    name: str = next(filter(_FORWARDED.fullmatch, environ), "")
    if name:
        return "its header " + name.removeprefix("HTTP_").replace("_", "-").title()
    protocol: str = environ.get(_FORWARDED_BY, "")
    return protocol


def _is_uwsgi(start_response: Any) -> bool:
    """Whether gunicorn's response, whose method this is, goes by the uwsgi protocol.

    gunicorn says so nowhere else, and takes no REMOTE_ADDR from that protocol.
    """
    config = getattr(getattr(start_response, "__self__", None), "cfg", None)
    return getattr(config, "protocol", "http") == "uwsgi"


def _addresses(text: str) -> list[IPv4Address | IPv6Address]:
    """The address, and the one of IPv4 that a socket for both versions shows as one of IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # some servers have a word for Unix sockets
        return []
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return [address] if mapped is None else [address, mapped]


def _redirect_below(request: Request) -> Response:
    """To the same URL with a slash at its end, which the page's own relative URLs need.

    The location is relative, so that neither a proxy that moves the page nor a path that begins
    with two slashes leads elsewhere.
    """
    name = request.environ.get("SCRIPT_NAME", "").rpartition("/")[2]
    location = f"./{quote(name.encode('latin-1'))}/" if name else "./"
    return _text(308, "The page is one slash further.", {"Location": location})


def _status_response() -> Response:
    # Not dataclasses.asdict(), which copies everything, for thousands of uploads too.
    status = json.dumps({"time": time.time(), **vars(overview())}, default=vars)
    return Response(status, content_type="application/json")


def _text(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text + "\n", status, headers, content_type="text/plain; charset=utf-8")


def _page() -> str:
    page = files(__package__).joinpath("status_page.html").read_text(encoding="utf-8")
    page = page.replace("<!-- the endings -->", _rows(ENDINGS))
    return page.replace("<!-- the events -->", _rows(EVENTS) + _rows(GAUGES, " data-now"))


def _rows(meanings: Mapping[str, str], attribute: str = "") -> str:
    """A row of a table for each number, with empty cells for the script."""
    return "\n".join(
        f'<tr data-number="{name}"{attribute}><th scope="row">{name.replace("_", " ")}</th>'
        f'<td class="meaning">{html.escape(meaning)}</td>'
        '<td class="total"></td><td class="change"></td></tr>'
        for name, meaning in meanings.items()
    )


def _policy(page: str) -> str:
    """The Content-Security-Policy under which the page's own style and script run, no others."""
    style, script = (
        base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        for kind in ("style", "script")
        for content in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
    )
    return (
        f"{_NOTHING_ALLOWED}; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "connect-src 'self'; img-src data:; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
