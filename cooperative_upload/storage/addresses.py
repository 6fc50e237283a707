"""storage_for(): a storage by its URL, each with what it needs and no other."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import SettingsError
from .contract import Storage
from .local import LocalStorage

# Modules with a function from_url(url, **options), looked up when one is asked for, since not
# everybody has their libraries: the extra that brings those has the scheme's name.
_ELSEWHERE = {"s3": "s3", "swift": "swift"}

_KNOWN = "file:///path, s3://bucket/prefix, swift://container/prefix"


def storage_for(url: str, **options: Any) -> Storage:
    """The storage at `url`: file:///path, s3://bucket/prefix or swift://container/prefix.

    The path may be percent-encoded, and is absolute.
    options: of that storage's own; LocalStorage's is `settings`.
    Raises SettingsError for another URL, and ImportError, with what to install, where a library
    is missing.
    """
    scheme, has_scheme, _ = url.partition("://")
    if has_scheme and scheme == "file":
        return LocalStorage(_path(url), **options)
    if has_scheme and scheme in _ELSEWHERE:
        return _from_module(_ELSEWHERE[scheme], url, options)
    raise SettingsError(f"no storage {url!r}: there are {_KNOWN}")


def _path(url: str) -> str:
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise SettingsError(f"no storage {url!r}: '?' and '#' in a path are %3F and %23")
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SettingsError(
            f"no storage {url!r}: expected an absolute path, as in file:///srv/files"
        )
    return unquote(parts.path, errors="surrogateescape")


def _from_module(extra: str, url: str, options: dict[str, Any]) -> Storage:
    try:
        module: Any = importlib.import_module(f".{extra}", __package__)
    except ImportError as error:
        raise ImportError(
            f"{url.partition('://')[0]}:// needs more: pip install cooperative_upload[{extra}] "
            f"({error})"
        ) from error
    storage: Storage = module.from_url(url, **options)
    return storage
