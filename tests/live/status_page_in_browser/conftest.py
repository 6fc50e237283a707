"""Chromium, and a server of the status page that tells what a test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import errors, headless_chromium
from selenium import webdriver
from status_page_in_browser import Server

from cooperative_upload.monitoring import status_page


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with headless_chromium() as driver:
        yield driver


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, browser: webdriver.Chrome) -> Iterator[Server]:
    server = Server()
    with server.reserved, server:
        monkeypatch.setattr(status_page, "overview", lambda: server.overview())
        yield server
        browser.get("about:blank")  # asks no more
        errors(browser)
