"""The status page in Chromium: what is served, and what is looked at."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from chromium import DESKTOP, look
from live_server import wait_until
from reserved_port import bound_socket, port_of
from selenium import webdriver
from selenium.webdriver.common.by import By
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from cooperative_upload import StatusPage
from cooperative_upload.monitoring.board import DURATION_BOUNDS, LAG_BOUNDS, NUMBERS
from cooperative_upload.monitoring.overview import (
    HistogramOverview,
    Overview,
    UploadOverview,
    WorkerOverview,
)

TOKEN = "kQ3vT9-eY_7wLr2MzX0a"
HISTOGRAMS = (
    HistogramOverview(list(LAG_BOUNDS), [0] * (len(LAG_BOUNDS) + 1), 0.0),
    HistogramOverview(list(DURATION_BOUNDS), [0] * (len(DURATION_BOUNDS) + 1), 0.0),
)


def upload(number: int, **changed: Any) -> UploadOverview:
    made = UploadOverview(
        id=f"71-{number:x}",
        worker=71,
        client=f"192.0.2.{number % 250}",
        method="POST",
        path=f"/files/{number}.bin",
        received=250_000_000,
        expected=1_000_000_000,
        rate=5_000_000.0,
        seconds=float(1000 - number),
        state="reading",
        waited_for_turns=1.0,
        waited_for_client=20.0,
        waited_for_disk=0.5,
    )
    return replace(made, **changed)


def worker(pid: int = 71, **changed: Any) -> WorkerOverview:
    made = WorkerOverview(
        pid=pid, seconds=7500.0, silent_seconds=0.02, uploads=0, lag=[0.001] * 90
    )
    return replace(made, **changed)


@dataclass
class Server:
    """Serves the page; what there is to see is set by the test."""

    workers: list[WorkerOverview] = field(default_factory=lambda: [worker()])
    uploads: list[UploadOverview] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    holding: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    reserved: socket.socket = field(default_factory=bound_socket)

    def __enter__(self) -> Server:
        page = StatusPage(["127.0.0.1"])
        mounts: dict[str, Any] = {"/upload-status": page, "/with-token": StatusPage(token=TOKEN)}
        application = DispatcherMiddleware(nothing, mounts)
        with bound_socket(port_of(self.reserved)) as listener:
            listener.listen(64)
            self._server = make_server(
                "127.0.0.1",
                0,
                application,
                threaded=True,
                request_handler=QuietHandler,
                fd=listener.fileno(),
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.address}/upload-status/"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{port_of(self.reserved)}"

    def overview(self) -> Overview:
        if self.holding.is_set():
            self.held.set()
            wait_until(lambda: not self.holding.is_set(), "the answer is no longer held back")
        self.answers += 1
        numbers = {**dict.fromkeys(NUMBERS, 0), "uploads": len(self.uploads), **self.numbers}
        lag, duration = HISTOGRAMS
        return Overview(self.workers, self.uploads, numbers, lag, duration, duration)


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Not each request."""


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing"]


def open_page(browser: webdriver.Chrome, server: Server, *, width: int = DESKTOP) -> None:
    look(browser, width=width)
    browser.get(server.url)
    wait_for_state(browser, "live")


def wait_for_state(browser: webdriver.Chrome, state: str) -> None:
    def is_so() -> bool:
        return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state") == state

    wait_until(is_so, f"the page says {state}")


def wait_for_text(browser: webdriver.Chrome, selector: str, wanted: str) -> None:
    def content() -> Any:
        return browser.execute_script(
            "return document.querySelector(arguments[0])?.textContent", selector
        )

    try:
        wait_until(lambda: content() == wanted, f"{wanted!r} in {selector}")
    except AssertionError as error:
        error.args = (f"{error}; there is {content()!r}",)
        raise


def paths(browser: webdriver.Chrome) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#uploads .path')].map((path) => path.textContent)"
    )
    return found


def overflow(browser: webdriver.Chrome) -> int:
    """Pixels by which the page is wider than the window."""
    found: int = browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    )
    return found
