"""Settings: what stops the boot with one line that names it, and what takes effect."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
from http_client import DEADLINE, Part, content, form_description
from live_server import (
    COOPERATIVE,
    STOCK,
    Gunicorn,
    LiveServer,
    descriptors,
    environment_with,
    wait_until,
)
from uploads import HalfUpload

from cooperative_upload.settings import ENVIRONMENT_PREFIX, UploadSettings

APPLICATION = "applications:report_stream_factory"

# The settings whose lowest, or highest, value is meant to end an upload.
REFUSE_UPLOADS: tuple[set[str], set[str]] = (set(), {"min_rate_bytes"})

CONFIGURATION = """
import cooperative_upload

class Worker(cooperative_upload.Worker):
    {attribute}

worker_class = Worker
raw_env = {raw_env}
"""


def configuration(directory: Path, attribute: str, raw_env: list[str] | None = None) -> str:
    """The path of a gunicorn.conf.py with a worker class that has this attribute."""
    path = directory / "gunicorn.conf.py"
    path.write_text(CONFIGURATION.format(attribute=attribute, raw_env=raw_env or []))
    return str(path)


def check_boot_fails(
    gunicorn: Gunicorn, names: str, *options: str, environment: dict[str, str] | None = None
) -> None:
    """gunicorn ends by itself, with an error status and one line that has `names` in it."""
    command = gunicorn.command("applications:application", ("--bind", "127.0.0.1:0", *options))
    done = subprocess.run(
        command,
        env=environment_with(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert len([line for line in output.splitlines() if names in line]) == 1, output
    assert "Traceback" not in output
    assert "Booting worker" not in output


@pytest.mark.parametrize(
    ("variable", "value", "names"),
    [
        ("COOPERATIVE_UPLOAD_SLICE", "1", "did you mean COOPERATIVE_UPLOAD_SLICE_MS?"),
        ("COOPERATIVE_UPLOAD_SLICE_MS", "soon", "COOPERATIVE_UPLOAD_SLICE_MS"),
        ("COOPERATIVE_UPLOAD_SLICE_MS", "0", "slice_ms"),
        ("COOPERATIVE_UPLOAD_PATCH_WERKZEUG", "maybe", "COOPERATIVE_UPLOAD_PATCH_WERKZEUG"),
        ("COOPERATIVE_UPLOAD_SPOOL_DIRECTORY", "/not/there", "/not/there"),
    ],
)
def test_bad_variable_stops_the_boot(
    gunicorn: Gunicorn, variable: str, value: str, names: str
) -> None:
    """With one line, before the first worker is started."""
    check_boot_fails(gunicorn, names, "-k", COOPERATIVE, environment={variable: value})


def test_bad_variable_in_raw_env_stops_the_boot(newest: Gunicorn) -> None:
    """gunicorn's own way to give variables to the application."""
    names = "did you mean COOPERATIVE_UPLOAD_SLICE_MS?"
    check_boot_fails(newest, names, "-k", COOPERATIVE, "--env", "COOPERATIVE_UPLOAD_SLICE_M=1")


@pytest.mark.parametrize(
    ("attribute", "names"),
    [
        ("slice_msec = 1", "did you mean slice_ms?"),
        ("slice_ms = 'fast'", "slice_ms"),
        ("spool_memory_bytes = -1", "spool_memory_bytes"),
        ("spool_directory = '/not/there'", "/not/there"),
    ],
)
def test_bad_attribute_stops_the_boot(
    newest: Gunicorn, tmp_path: Path, attribute: str, names: str
) -> None:
    """Of the worker class in gunicorn.conf.py, where gunicorn ignores what it does not know."""
    check_boot_fails(newest, names, "--config", configuration(tmp_path, attribute))


def stream_factory(server: LiveServer) -> str:
    """The module of werkzeug's default stream factory in the server, and what it makes."""
    with server.connect() as connection:
        connection.send_request("GET", "/", headers={"Connection": "close"})
        return connection.response().body.decode()


def test_good_configuration_takes_effect(gunicorn: Gunicorn, tmp_path: Path) -> None:
    """Attributes of the class and raw_env: here, where the spool begins and where it is."""
    spools = tmp_path / "spools"
    spools.mkdir()
    raw_env = [f"COOPERATIVE_UPLOAD_SPOOL_DIRECTORY={spools}"]
    path = configuration(tmp_path, "spool_memory_bytes = 1000", raw_env)
    # The configuration's worker class, so none on the command line.
    with LiveServer(gunicorn, "--config", path, worker=None) as server:
        (worker,) = server.workers()
        with HalfUpload(server, size=300_000) as upload:
            wait_until(
                lambda: any(name.startswith(str(spools)) for name in descriptors(worker)),
                "a spool in the directory of raw_env",
            )
            assert upload.finish().json() == form_description(upload.part)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("worker", [STOCK, COOPERATIVE])
def test_settings_of_who_gives_none(
    newest: Gunicorn, tmp_path: Path, worker: str, preload: tuple[str, ...]
) -> None:
    """Those of the worker's class; on the stock worker those of the environment, or of raw_env."""
    raw_env = ["COOPERATIVE_UPLOAD_SLICE_MS=3"] if worker == STOCK else []
    path = configuration(tmp_path, "slice_ms = 4", raw_env)
    options = ("--config", path, *preload)
    with (
        LiveServer(
            newest,
            *options,
            worker=worker if worker == STOCK else None,
            application="applications:report_settings",
            ready=lambda server: server.port,
        ) as server,
        server.connect() as connection,
    ):
        connection.send_request("GET", "/", headers={"Connection": "close"})
        assert connection.response().json() == [3 if worker == STOCK else 4] * 4


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "cooperative_upload.forms.werkzeug_patch Spool"),
        ({"COOPERATIVE_UPLOAD_PATCH_WERKZEUG": "0"}, "werkzeug.formparser"),
    ],
)
def test_patch_werkzeug(gunicorn: Gunicorn, environment: dict[str, str], expected: str) -> None:
    """On by default; off, werkzeug's own factory is left as it is."""

    def ready(server: LiveServer) -> object:
        return server.port

    with LiveServer(
        gunicorn, application=APPLICATION, environment=environment, ready=ready
    ) as server:
        assert stream_factory(server).startswith(expected)


def test_uploads_without_the_patch(newest: Gunicorn) -> None:
    """werkzeug's own temporary files: uploads arrive whole all the same."""
    environment = {"COOPERATIVE_UPLOAD_PATCH_WERKZEUG": "0"}
    part = Part("file", content(2_000_000), "f.bin")
    with (
        LiveServer(newest, environment=environment) as server,
        server.connect() as connection,
    ):
        assert connection.post_form("/form", part).json() == form_description(part)


WITHOUT_DIRECTORY = """
import tempfile

tempfile.tempdir = None
tempfile._candidate_tempdir_list = lambda: ["/not/there"]
worker_tmp_dir = "/dev/shm"
"""


@pytest.mark.parametrize("worker", [STOCK, COOPERATIVE])
def test_without_any_temporary_directory(gunicorn: Gunicorn, tmp_path: Path, worker: str) -> None:
    """As in a container whose file system is read-only: what fits into memory is served."""
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(WITHOUT_DIRECTORY)
    large = Part("file", content(2_000_000), "f.bin")
    small = Part("file", content(100_000), "f.bin")
    unnamed = {"COOPERATIVE_UPLOAD_SPOOL_DIRECTORY": ""}
    with LiveServer(gunicorn, "--config", str(path), worker=worker, environment=unnamed) as server:
        for part, status in ((small, 200), (large, 500), (small, 200)):
            with server.connect() as connection:
                response = connection.post_form("/form", part)
            assert response.status == status
            if part is small:
                assert response.json() == form_description(part)
            elif worker == COOPERATIVE:
                assert b"its storage does not work" in response.body
        if worker == COOPERATIVE:
            log = server.log_tail()
            assert log.count("No files of more than 512,000 bytes can be uploaded: No usable") == 1
            assert "Traceback" not in log


@pytest.mark.parametrize("bound", [0, 1], ids=["lowest", "highest"])
def test_the_bounds_work(newest: Gunicorn, bound: int) -> None:
    """What a setting is allowed to be, timers and threads can do with: an upload arrives."""
    environment = {
        ENVIRONMENT_PREFIX + setting.name.upper(): str(setting.metadata["range"][bound])
        for setting in dataclasses.fields(UploadSettings)
        if setting.metadata["range"] is not None and setting.name not in REFUSE_UPLOADS[bound]
    }
    part = Part("file", content(2_000_000), "f.bin")
    with (
        LiveServer(newest, environment=environment) as server,
        server.connect() as connection,
    ):
        for _ in range(2):
            assert connection.post_form("/form", part).json() == form_description(part)
        assert "Traceback" not in server.log_tail()
