"""Which settings hold for who gives none, wherever that is."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import werkzeug.formparser
import wsgi
from flask import Flask
from greenlets import hub_scheduler, hub_writer, in_greenlet
from http_client import FORM_TYPE, Part, form
from wsgi import environ

from cooperative_upload import settings_in_force
from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import SettingsError
from cooperative_upload.flask_ext import CooperativeUpload
from cooperative_upload.forms import destinations
from cooperative_upload.forms.streaming import receive, stream_parts
from cooperative_upload.forms.werkzeug_patch import apply
from cooperative_upload.middleware import CooperativeUploadMiddleware
from cooperative_upload.settings import UploadSettings
from cooperative_upload.spool.temporary_file import Spool

pytestmark = pytest.mark.usefixtures("werkzeug_restored", "no_settings_yet")

FORM = form(Part("file", b"content", "name.bin"))
WITHOUT_PATCH: dict[str, Any] = {"patch_werkzeug": False}


@pytest.fixture
def no_settings_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not looked at its environment."""
    monkeypatch.setattr(settings_in_force, "_of_process", None)


@pytest.fixture
def spools(monkeypatch: pytest.MonkeyPatch) -> list[UploadSettings]:
    """The settings of each spool that receive() and parts make."""
    seen = []

    def beside(target: object, settings: UploadSettings) -> Spool:
        seen.append(settings)
        return Spool(settings)

    monkeypatch.setattr(destinations, "spool_beside", beside)
    return seen


def made_by_werkzeug() -> Spool:
    spool = werkzeug.formparser.default_stream_factory(1, None, None)
    assert isinstance(spool, Spool)
    return spool


def answers(path: Path, spools: list[UploadSettings]) -> dict[str, float]:
    """The slice_ms that everybody gets who asks for nothing."""
    receive(asked(), path / "received", fsync=False)
    for part in stream_parts(asked()):
        part.save_to(path / "part", fsync=False)
    of_parts, of_receive = spools.pop(), spools.pop()
    found = {
        "Spool()": Spool()._settings,
        "CooperativeInput()": CooperativeInput(io.BytesIO(), 0).settings,
        "werkzeug's form parser": made_by_werkzeug()._settings,
        "receive()": of_receive,
        "stream_parts()": of_parts,
    }
    return {name: settings.slice_ms for name, settings in found.items()}


def asked() -> dict[str, Any]:
    return environ(FORM, CONTENT_TYPE=FORM_TYPE)


def test_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spools: list[UploadSettings]
) -> None:
    """Without a worker of ours and without a wrapper; a misspelt one is named."""
    monkeypatch.setenv("COOPERATIVE_UPLOAD_SLICE_MS", "3")
    apply(settings_in_force.settings_of_process())
    assert set(answers(tmp_path, spools).values()) == {3.0}
    monkeypatch.setattr(settings_in_force, "_of_process", None)
    monkeypatch.setenv("COOPERATIVE_UPLOAD_SLICE", "3")
    with pytest.raises(SettingsError, match="did you mean"):
        Spool()


def test_those_of_the_worker(tmp_path: Path, spools: list[UploadSettings]) -> None:
    """Which has read the environment itself."""
    settings = UploadSettings(slice_ms=4)
    settings_in_force.holding_for_process(settings)
    apply(settings)
    assert set(answers(tmp_path, spools).values()) == {4}


@pytest.mark.parametrize("hub", [True, False], ids=["hub", "no hub"])
@pytest.mark.parametrize("data", [FORM, b""], ids=["body", "no body"])
def test_those_of_the_wrapper(
    tmp_path: Path, spools: list[UploadSettings], hub: bool, data: bytes
) -> None:
    """For what its requests do, whatever runs them; each of two wrappers its own."""
    settings_in_force.holding_for_process(UploadSettings(slice_ms=4, deadline_ms=6))
    found: list[Any] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        found.append(answers(tmp_path, spools))
        found.append(Spool()._settings.deadline_ms)
        start_response("200 OK", [])
        return []

    first = CooperativeUploadMiddleware(application, slice_ms=5)
    second = CooperativeUploadMiddleware(application, slice_ms=6)
    for wrapped, expected in ((first, 5), (second, 6)):
        call = functools.partial(wsgi.call, wrapped, environ(data, CONTENT_TYPE=FORM_TYPE))
        with hub_scheduler(), hub_writer():
            _ = in_greenlet(call) if hub else call()
        assert set(found[0].values()) == {expected}
        assert found[1] == 6  # what it does not say is its worker's
        found.clear()
    assert Spool()._settings.slice_ms == 4


def test_the_response_too() -> None:
    """A request ends with its response."""

    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield str(Spool()._settings.slice_ms).encode()

    wrapped = CooperativeUploadMiddleware(application, slice_ms=5, **WITHOUT_PATCH)
    with hub_scheduler(), hub_writer():
        assert in_greenlet(lambda: wsgi.call(wrapped, asked())).body == b"5"
    assert Spool()._settings.slice_ms == UploadSettings().slice_ms


def test_those_of_flasks_configuration() -> None:
    """The extension's, for its application."""
    app = Flask(__name__)
    app.config["COOPERATIVE_UPLOAD_SLICE_MS"] = 7

    @app.post("/")
    def view() -> dict[str, float]:
        return {"Spool()": Spool()._settings.slice_ms}

    CooperativeUpload(app)
    with hub_scheduler(), hub_writer():
        assert in_greenlet(lambda: wsgi.call(app, asked())).body == b'{"Spool()":7}\n'


def test_a_request_that_is_handed_to_another_greenlet(
    tmp_path: Path, spools: list[UploadSettings]
) -> None:
    """Its body knows its settings."""
    body = CooperativeInput(io.BytesIO(FORM), len(FORM), UploadSettings(slice_ms=8))
    made = {**asked(), "wsgi.input": body}
    with hub_scheduler(), hub_writer():
        gevent.spawn(receive, made, tmp_path / "received", fsync=False).join()
    assert spools.pop().slice_ms == 8


def test_an_argument_goes_before_all(tmp_path: Path, spools: list[UploadSettings]) -> None:
    given = UploadSettings(slice_ms=9)
    with settings_in_force.holding_for_request(UploadSettings(slice_ms=5)):
        assert Spool(given)._settings is given
        assert CooperativeInput(io.BytesIO(), 0, given).settings is given
        receive(asked(), tmp_path / "received", fsync=False, settings=given)
        for part in stream_parts(asked(), given):
            part.save_to(tmp_path / "part", fsync=False)
    assert spools == [given, given]


def test_an_application_that_is_loaded_before_the_fork() -> None:
    """gunicorn --preload: its worker's settings come after the wrapper was made."""
    wrapped = CooperativeUploadMiddleware(lambda *_: [], slice_ms=5, **WITHOUT_PATCH)
    assert (wrapped.settings.slice_ms, wrapped.settings.deadline_ms) == (5, 5)
    settings_in_force.holding_for_process(UploadSettings(slice_ms=4, deadline_ms=6))
    assert (wrapped.settings.slice_ms, wrapped.settings.deadline_ms) == (5, 6)


def test_the_environment_goes_before_the_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere."""
    monkeypatch.setenv("COOPERATIVE_UPLOAD_SLICE_MS", "3")
    wrapped = CooperativeUploadMiddleware(lambda *_: [], slice_ms=5, **WITHOUT_PATCH)
    assert wrapped.settings.slice_ms == 3


def test_the_environment_is_read_once() -> None:
    """There is a spool for each file of a form."""
    assert Spool()._settings is Spool()._settings
