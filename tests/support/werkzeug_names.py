"""What werkzeug_patch.apply() replaces."""

from __future__ import annotations

from typing import Any

import werkzeug.formparser
import werkzeug.wrappers.request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Request
from werkzeug.wsgi import LimitedStream

REPLACED: list[tuple[Any, str]] = [
    (werkzeug.formparser, "default_stream_factory"),
    (werkzeug.wrappers.request, "default_stream_factory"),
    (werkzeug.formparser, "MultipartDecoder"),
    (werkzeug.formparser, "parse_qsl"),
    (FileStorage, "save"),
    (FormDataParser, "parse"),
    (Request, "get_json"),
    (LimitedStream, "on_disconnect"),
]
