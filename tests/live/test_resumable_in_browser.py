"""tus-js-client and Uppy in Chromium, in a page of another origin than that of the uploads."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from chromium import IS_INSTALLED, NEEDED, headless_chromium
from cutting_proxy import CuttingProxy
from http_client import content, sha256
from javascript import bundle, needs_javascript
from live_server import Gunicorn, LiveServer
from selenium import webdriver
from uploads_in_process import id_in

pytestmark = [needs_javascript, pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)]

MIB = 1 << 20
DATA = content(12 * MIB + 1)
NAME = "Straße.pdf"
PAGE = (
    b"<!doctype html><meta charset=utf-8><title>Uploads</title><script src=/clients.js></script>"
)
RETRIES = [0, 100, 500, 1000, 1000, 1000]

RUN = """
const done = arguments[arguments.length - 1];
window[arguments[0]](...[...arguments].slice(1, -1)).then(
    (url) => done({url, previous: window.previous}), (error) => done({error: String(error)}));
"""


class Pages(http.server.BaseHTTPRequestHandler):
    """The page, its script and the file that a person would choose."""

    def do_GET(self) -> None:
        pages = {
            "/": (PAGE, "text/html"),
            "/clients.js": (bundle().encode(), "text/javascript"),
            "/file": (DATA, "application/octet-stream"),
        }
        body, content_type = pages.get(self.path, (b"", "text/plain"))
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nowhere."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """Its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as driver:
        driver.set_script_timeout(60)
        yield driver


@pytest.fixture
def browser(chromium: webdriver.Chrome, page: str) -> webdriver.Chrome:
    """With the page, in which nothing was uploaded before."""
    chromium.get(page)
    chromium.execute_script("localStorage.clear()")
    return chromium


@pytest.fixture(scope="module")
def server(newest: Gunicorn) -> Iterator[LiveServer]:
    with LiveServer(newest, application="uploads_application:application") as server:
        yield server


def run(browser: webdriver.Chrome, what: str, url: str, **options: Any) -> dict[str, Any]:
    """What the page's function of that name says in the end."""
    options = {"endpoint": f"{url}/files", "retryDelays": RETRIES, **options}
    found: dict[str, Any] = browser.execute_async_script(RUN, what, NAME, "/file", options)
    assert "error" not in found, found
    return found


def check_stored(server: LiveServer, address: str, name: str | None = NAME) -> None:
    with server.connect() as connection:
        connection.send_request("GET", f"/stored/{id_in(address)}")
        found = connection.response().json()
    assert (found["name"], found["size"]) == (name, len(DATA))
    assert found["sha256"] == sha256(DATA)


def test_the_network_breaks(browser: webdriver.Chrome, server: LiveServer) -> None:
    with CuttingProxy(server.port, (5 * MIB, None), (4 * MIB, None)) as proxy:
        address = run(browser, "upload", proxy.url)["url"]
    check_stored(server, address)


def test_the_network_breaks_by_the_ietf_s_protocol(
    browser: webdriver.Chrome, server: LiveServer
) -> None:
    with CuttingProxy(server.port, (5 * MIB, None)) as proxy:
        address = run(browser, "upload", proxy.url, protocol="ietf-draft-05")["url"]
    check_stored(server, address, None)


def test_resumed_after_a_reload(browser: webdriver.Chrome, server: LiveServer, page: str) -> None:
    """Paused in the middle; the page that is loaded anew finds where the upload is."""
    paused = run(browser, "upload", server.url, chunkSize=2 * MIB, pauseAt=5 * MIB)
    assert (paused["url"], paused["previous"]) == (None, 0)
    browser.get(page)
    resumed = run(browser, "upload", server.url, chunkSize=2 * MIB)
    assert resumed["previous"] == 1
    check_stored(server, resumed["url"])


def test_in_parallel(browser: webdriver.Chrome, server: LiveServer) -> None:
    address = run(browser, "upload", server.url, parallelUploads=3)["url"]
    check_stored(server, address)


def test_uppy_on_a_network_that_breaks(browser: webdriver.Chrome, server: LiveServer) -> None:
    with CuttingProxy(server.port, (5 * MIB, None), (4 * MIB, None)) as proxy:
        address = run(browser, "uploadWithUppy", proxy.url)["url"]
    check_stored(server, address)
