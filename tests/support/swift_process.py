"""OpenStack Swift whole in one process: proxy, account, container and object server.

Run by swift_server.py, with the Python that has Swift (Debian's python3-swift, or PyPI's swift in
an environment of its own: it needs eventlet, which must not meet gevent). One replica on one
"disk", which is a folder; no memcached, no other daemon.

    python swift_process.py FOLDER PORT
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("account", "container", "object")

# In the order in which a request meets them; Swift's own sample configuration has them so.
PIPELINE = (
    "catch_errors gatekeeper cache listing_formats bulk tempurl tempauth container_quotas "
    "account_quotas slo dlo"
)

SWIFT = """
[swift-hash]
swift_hash_path_prefix = one
swift_hash_path_suffix = process

[storage-policy:0]
name = one-copy
default = yes
policy_type = replication
"""

INNER = """
[DEFAULT]
{common}

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """
[DEFAULT]
{common}

[pipeline:main]
pipeline = {pipeline} proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true

[filter:cache]
paste.filter_factory = swift_process:cache_filter

[filter:slo]
use = egg:swift#slo
# The tests' segments are small, and would be served one in a second.
rate_limit_under_size = 0

[filter:tempauth]
use = egg:swift#tempauth
storage_url_scheme = http
token_life = 86400
user_test_tester = testing .admin {url}/v1/AUTH_test
user_test_reader = reading {url}/v1/AUTH_test
user_test_writer = writing {url}/v1/AUTH_test
"""

COMMON = """
user = {user}
swift_dir = {folder}
devices = {folder}/disks
mount_check = false
fallocate_reserve = 0
recon_cache_path = {folder}
log_level = WARNING
"""


class Cache:
    """What Swift keeps in memcached, in the one process that there is."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[Any, float]] = {}

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_: Any) -> None:
        self._items[key] = (value, now() + time if time else 0)

    def get(self, key: str, **_: Any) -> Any:
        value, until = self._items.get(key, (None, 0))
        return None if until and until < now() else value

    def delete(self, key: str, **_: Any) -> None:
        self._items.pop(key, None)


now = time.time


def cache_filter(global_conf: Any, **local_conf: Any) -> Callable[[Any], Any]:
    cache = Cache()

    def filtered(application: Any) -> Any:
        def call(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return application(environ, start_response)

        return call

    return filtered


def main(folder: Path, port: int) -> None:
    (folder / "disks" / "d1").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(SWIFT)
    os.environ["TZ"] = "UTC+0"
    time.tzset()

    import swift.common.utils

    # The limits of swift.conf are read when the modules are imported.
    swift.common.utils.SWIFT_CONF_FILE = str(folder / "swift.conf")
    from swift.common.utils import eventlet_monkey_patch

    eventlet_monkey_patch()
    import eventlet

    listening = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in KINDS}
    for sock in listening.values():  # inherited by what is accepted, as swift.common.wsgi sets it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    write_rings(folder, listening)
    servers = [
        eventlet.spawn(serve, kind, write_configuration(folder, kind), listening[kind])
        for kind in KINDS
    ]
    proxy = eventlet.listen(("127.0.0.1", port), reuse_port=True)
    url = f"http://127.0.0.1:{port}"
    servers.append(
        eventlet.spawn(serve, "proxy", write_configuration(folder, "proxy", url), proxy)
    )
    for server in servers:
        server.wait()


def write_rings(folder: Path, listening: dict[str, socket.socket]) -> None:
    from swift.common.ring import RingBuilder

    for kind, sock in listening.items():
        port = sock.getsockname()[1]
        builder = RingBuilder(1, 1, 1)  # two partitions, one replica
        where = {"ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0}
        replication = {"replication_ip": "127.0.0.1", "replication_port": port}
        builder.add_dev({"id": 0, "region": 1, "zone": 1, "meta": "", **where, **replication})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def write_configuration(folder: Path, kind: str, url: str = "") -> str:
    common = COMMON.format(user=getpass.getuser(), folder=folder)
    if kind != "proxy":
        text = INNER.format(common=common, kind=kind)
    else:
        text = PROXY.format(common=common, pipeline=PIPELINE, url=url)
        for name in set(PIPELINE.split()) - {"cache", "tempauth", "slo"}:
            text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
    path = folder / f"{kind}.conf"
    path.write_text(text)
    return str(path)


def serve(kind: str, configuration: str, sock: socket.socket) -> None:
    import eventlet.wsgi
    from swift.common.utils import NullLogger
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    application = loadapp(configuration, global_conf={"log_name": kind})
    eventlet.wsgi.server(
        sock,
        application,
        NullLogger(),
        protocol=SwiftHttpProtocol,
        socket_timeout=60,
        capitalize_response_headers=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
