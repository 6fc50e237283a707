"""A real nginx in front of a server, as people deploy it: its command line and configuration.

nginx             receives a whole body, on disk if need be, before it passes it on
nginx-unbuffered  passes a body on as it arrives (proxy_request_buffering off)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from loadtest.errors import UsageError
from loadtest.servers.certificates import Certificate

CONFIGURATION = """\
daemon off;
{user}
worker_processes auto;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
    upstream application {{ server {host}:{upstream_port}; keepalive 32; }}
    server {{
        listen {host}:{port}{tls};
        {certificate}
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering {buffering};
            proxy_read_timeout 300s;
            proxy_send_timeout 300s;
        }}
    }}
}}
"""


def nginx_command(
    kind: str,
    *,
    host: str,
    port: int,
    upstream_port: int,
    directory: Path,
    certificate: Certificate | None,
    http2: bool,
) -> list[str]:
    """Write the configuration into `directory`. Raises UsageError where nginx is missing."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise UsageError("--behind needs nginx, which is not installed here.")
    file = directory / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(
            # Its workers write bodies into our scratch directory, which is ours alone.
            user="user root;" if os.geteuid() == 0 else "",
            directory=directory,
            host=host,
            port=port,
            upstream_port=upstream_port,
            tls=(" ssl http2" if http2 else " ssl") if certificate else "",
            certificate=_lines(certificate),
            buffering="on" if kind == "nginx" else "off",
        )
    )
    return [program, "-p", str(directory), "-e", "stderr", "-c", str(file)]


def _lines(certificate: Certificate | None) -> str:
    if certificate is None:
        return ""
    return f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
