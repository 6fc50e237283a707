"""Who is let into Swift, and where it is: tokens, by the credentials that its users have already.

Those of a cloud in clouds.yaml, or of the OS_* variables, as openstacksdk reads them: Keystone
with passwords, application credentials and whatever else keystoneauth1 has a plugin for. Those of
the ST_* variables, as `swift` has them, where there is no Keystone.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError, StorageError, StorageRefused, StorageUnavailable

try:
    import openstack.config
    from keystoneauth1 import exceptions
    from openstack.exceptions import ConfigException
except ImportError:
    raise ImportError(
        "Swift needs openstacksdk and python-swiftclient: pip install 'cooperative_upload[swift]'"
    ) from None

_SERVICE = "object-store"

_V1 = ("ST_AUTH", "ST_USER", "ST_KEY")

# Seconds for a token.
_TIMEOUT = 30.0

Login = Callable[[], Any]
"""Makes a session of its own for each loop, for no connection may be used by two: openstacksdk's
CloudRegion."""


def login_from(environ: Mapping[str, str], cloud: str | None = None) -> Login:
    """The credentials in force, with which nobody has logged in yet.

    environ: the process's; openstacksdk finds OS_* and its files there by itself.
    cloud: which one of clouds.yaml; None for what the environment says: ST_AUTH, ST_USER and
        ST_KEY where all are set, else OS_CLOUD or the other OS_* variables.
    Raises SettingsError where there are none. Reads files.
    """
    options: dict[str, Any]
    try:
        if cloud is None and all(environ.get(name) for name in _V1):
            config = openstack.config.OpenStackConfig(
                load_envvars=False, load_yaml_config=False, app_name="cooperative_upload"
            )
            url, user, password = (environ[name] for name in _V1)
            auth = {"auth_url": url, "username": user, "password": password}
            options = {"auth_type": "v1password", "auth": auth}
        else:
            config = openstack.config.OpenStackConfig(app_name="cooperative_upload")
            options = {"cloud": cloud}
        config.get_one(**options, api_timeout=_TIMEOUT)
    except (ConfigException, exceptions.ClientException) as error:
        raise SettingsError(f"Swift needs credentials: {error}") from error
    return lambda: config.get_one(**options, api_timeout=_TIMEOUT)


@dataclass(frozen=True)
class Access:
    """What a request needs.

    url: of the account, without a slash at the end.
    """

    token: str
    url: str


class SwiftAccess:
    """The token of one loop, fetched by one greenlet for all that wait for it."""

    def __init__(self, login: Login) -> None:
        self._region = login()
        self._session = self._region.get_session()
        # Looked up now: gevent may have patched it since this module was imported.
        self._lock = threading.Lock()
        self._refused: str | None = None

    @property
    def verify(self) -> bool | str:
        """Whether certificates are checked; or the file of authorities by which they are."""
        checked: bool | str = self._session.verify
        return checked

    @property
    def certificate(self) -> str | tuple[str, str] | None:
        """The client's own: a file, or that and its key's."""
        own: str | tuple[str, str] | None = self._session.cert
        return own

    def current(self) -> Access:
        """It may wait, for the token. Raises StorageError."""
        with self._lock:
            try:
                token = self._session.get_token()
                if token == self._refused:
                    self._session.invalidate()
                    token = self._session.get_token()
                url = self._region.get_session_endpoint(_SERVICE)
            except (exceptions.ClientException, ConfigException) as error:
                raise _told(error) from error
        if not url or not token:
            raise StorageRefused(OSError(errno.ENOENT, "there is no object-store in the catalog"))
        return Access(token, url.rstrip("/"))

    def renew(self, refused: Access) -> None:
        """This one is not accepted any more: the next to ask fetches another.

        Many may come with one token that has expired, and one fetches a new one for them all.
        """
        self._refused = refused.token


def _told(error: Exception) -> StorageError:
    if isinstance(error, exceptions.InvalidResponse):  # of the plugin for ST_*
        status = error.response.status_code
    else:
        status = getattr(error, "http_status", None) or 0
    away = isinstance(error, exceptions.ConnectionError) or status == 429 or status >= 500
    cause = OSError(errno.EIO if away else errno.EACCES, f"no token: {error}")
    return StorageUnavailable(cause) if away else StorageRefused(cause)
