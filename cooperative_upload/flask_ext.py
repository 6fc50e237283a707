"""CooperativeUpload: the Flask extension. It changes the application, and nothing else.

The application's input becomes cooperative by the middleware, and its request class gets spools
for its files and a save() that does not block. A request class of the application's own is kept:
what it overrides goes before what is added here.
"""

from __future__ import annotations

import os
from typing import IO, Any

from flask import Flask, Request
from werkzeug.datastructures import FileStorage

from .errors import SettingsError
from .forms import (
    StreamFactory,
    limit_json,
    limited_form,
    save_cooperatively,
    spool_factory,
)
from .middleware import CooperativeUploadMiddleware
from .settings import ENVIRONMENT_PREFIX, UploadSettings


class CooperativeFile(FileStorage):
    """A file of a form whose save() to a path lets others run."""

    def save(self, dst: str | os.PathLike[str] | IO[bytes], buffer_size: int = 16384) -> None:
        """To a path without blocking; to a file object as werkzeug does it."""
        save_cooperatively(self, dst, buffer_size)


class CooperativeUpload:
    """`CooperativeUpload(app)`, or init_app(app) for applications that are made later.

    Settings are read from app.config, by the names that the environment has for them
    (`COOPERATIVE_UPLOAD_SLICE_MS`); the environment goes before it. Raises SettingsError for one
    that is unknown or makes no sense.

    stream_factory: what makes the streams of the files of forms, in place of temporary files;
        storage.form_files() gives one.
    """

    def __init__(
        self, app: Flask | None = None, *, stream_factory: StreamFactory | None = None
    ) -> None:
        self._stream_factory = stream_factory
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """To be called after app.config and app.request_class are set."""
        settings = _settings_in(app.config)
        middleware = CooperativeUploadMiddleware(
            app.wsgi_app, stream_factory=self._stream_factory, **settings
        )
        app.wsgi_app = middleware  # type: ignore[method-assign]
        app.request_class = _with_cooperative_files(app.request_class, middleware.settings)


def _settings_in(config: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {"patch_werkzeug": False}
    for key, value in config.items():
        if not key.startswith(ENVIRONMENT_PREFIX):
            continue
        name = key.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name == "patch_werkzeug":
            raise SettingsError(f"{key}: the extension patches nothing; this is for the worker")
        settings[name] = value
    return settings


def _with_cooperative_files(base: type[Request], settings: UploadSettings) -> type[Request]:
    """A request class that does what `base` does, and makes cooperative files."""
    base_parser: Any = base.form_data_parser_class
    make_spool = spool_factory(settings)

    class CooperativeParser(base_parser):  # type: ignore[misc]
        def parse(
            self, stream: Any, mimetype: str, content_length: int | None, options: Any = None
        ) -> Any:
            limited = limited_form(stream, mimetype, content_length, settings)
            _, form, files = super().parse(limited, mimetype, content_length, options)
            cooperative = [(key, _cooperative(file)) for key, file in files.items(multi=True)]
            return stream, form, self.cls(cooperative)

    class CooperativeRequest(base):  # type: ignore[misc, valid-type]
        form_data_parser_class = CooperativeParser

        def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
            if force or self.is_json:
                limit_json(self, settings)
            return super().get_json(force, silent, cache)

        def _get_file_stream(self, *args: Any, **kwargs: Any) -> Any:
            return make_spool(*args, **kwargs)

    if base._get_file_stream is not Request._get_file_stream:
        del CooperativeRequest._get_file_stream  # the application has its own
    CooperativeRequest.__name__ = CooperativeRequest.__qualname__ = base.__name__
    return CooperativeRequest


def _cooperative(file: Any) -> Any:
    if type(file) is not FileStorage:
        return file  # of a parser of the application's own
    return CooperativeFile(file.stream, file.filename, file.name, headers=file.headers)
