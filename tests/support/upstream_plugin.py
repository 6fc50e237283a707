"""A pytest plugin for werkzeug's and Flask's own tests, with this package in their way.

    python -m pytest -p upstream_plugin tests/...

UPSTREAM_OUTCOMES names the file that gets the outcome of each test, as JSON; UPSTREAM_WITH says
what is in the way:

patch      werkzeug_patch.apply()
wrapper    the middleware around each application that werkzeug's test client runs
inputs     a CooperativeInput in each environ that werkzeug's EnvironBuilder makes
extension  the Flask extension in each Flask application
(nothing)  nothing, to compare with

With any of them all tests run in one greenlet of a hub, as requests do on a gevent server.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import _pytest.main
import _pytest.monkeypatch
import gevent
import pytest
import werkzeug.test
from flask import Flask

from cooperative_upload import CooperativeUploadMiddleware, UploadSettings
from cooperative_upload.body.wsgi_input import cooperative_input
from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.forms import werkzeug_patch

WITH = os.environ["UPSTREAM_WITH"]

# All bodies take turns, also the small ones of these tests, and turns are short.
TURNS: dict[str, Any] = {"small_body_bytes": 0, "slice_ms": 0.01}
SETTINGS = UploadSettings(**TURNS)

outcomes: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    own: Any = _pytest.monkeypatch
    if not hasattr(own, "notset"):  # as Flask's conftest knows it; pytest 9 calls it otherwise
        own.notset = own.NOTSET
    put_in_the_way[WITH]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    if not WITH:
        return None  # to pytest: not done yet
    return gevent.spawn(_pytest.main.pytest_runtestloop, session).get()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    Path(os.environ["UPSTREAM_OUTCOMES"]).write_text(json.dumps(outcomes))


def patch() -> None:
    werkzeug_patch.apply(SETTINGS)


def wrapper() -> None:
    run = werkzeug.test.run_wsgi_app

    def run_wrapped(app: Any, environ: Any, buffered: bool = False) -> Any:
        wrapped = CooperativeUploadMiddleware(app, patch_werkzeug=False, **TURNS)
        return run(wrapped, environ, buffered)

    werkzeug.test.run_wsgi_app = run_wrapped


def inputs() -> None:
    make = werkzeug.test.EnvironBuilder.get_environ

    def get_environ(self: werkzeug.test.EnvironBuilder) -> Any:
        environ = make(self)
        environ["wsgi.input"] = cooperative_input(environ, SETTINGS)
        environ["wsgi.input_terminated"] = True
        return environ

    werkzeug.test.EnvironBuilder.get_environ = get_environ  # type: ignore[method-assign]


def extension() -> None:
    make = Flask.__init__

    def init(self: Flask, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        CooperativeUpload(self)

    Flask.__init__ = init  # type: ignore[method-assign]
    os.environ["COOPERATIVE_UPLOAD_SMALL_BODY_BYTES"] = "0"


put_in_the_way: dict[str, Any] = {
    "": lambda: None,
    "patch": patch,
    "wrapper": wrapper,
    "inputs": inputs,
    "extension": extension,
}
