"""A real nginx in front of a live server."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_client import DEADLINE, Connection
from live_server import wait_until
from reserved_port import bound_socket, port_of

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
UWSGI_PARAMS = Path("/etc/nginx/uwsgi_params")

needs_nginx = pytest.mark.skipif(not NGINX, reason="needs nginx")

CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location = /is-up {{ return 200 ""; }}
        {directives}
    }}
}}
"""


@contextlib.contextmanager
def nginx_with(directives: str, directory: Path) -> Iterator[int]:
    """The port of an nginx whose server has these directives.

    directory: of its own, to which `include uwsgi_params` refers.
    """
    with bound_socket() as reserved:
        port = port_of(reserved)
        configuration = directory / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(port=port, directives=directives))
        shutil.copy(UWSGI_PARAMS, directory)
        command = [str(NGINX), "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
        with subprocess.Popen(command) as process:
            try:
                wait_until(lambda: status_behind(port, "127.0.0.1", "/is-up") == 200, "nginx")
                yield port
            finally:
                process.terminate()


def status_behind(
    port: int, address: str, path: str, headers: dict[str, str] | None = None
) -> int | None:
    """The status that a client with that address gets; None if nobody listens."""
    try:
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE, (address, 0))
    except ConnectionRefusedError:
        return None
    with Connection(sock) as connection:
        connection.send_request("GET", path, headers=headers)
        return connection.response().status
