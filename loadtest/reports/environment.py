"""Where and with what the figures were made: they mean little without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path

import psutil

PACKAGES = (
    "cooperative_upload",
    "gunicorn",
    "gevent",
    "werkzeug",
    "flask",
    "uvicorn",
    "starlette",
    "aiohttp",
    "granian",
    "waitress",
)


def describe() -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "Python": platform.python_version(),
        "kernel": f"{platform.system()} {platform.release()}",
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{psutil.virtual_memory().total / 1024**3:.0f} GiB",
    }
    for package in PACKAGES:
        version = _version(package)
        if version:
            found[package] = version
    return found


def _version(package: str) -> str | None:
    # Of the distribution's metadata: nothing of what is measured is imported.
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
