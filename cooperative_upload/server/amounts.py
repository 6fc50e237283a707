"""Sizes and durations as people write and read them. Numbers and texts alone."""

from __future__ import annotations

import datetime
import re

_SIZES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_SIZES |= {f"{unit}b": factor for unit, factor in _SIZES.items()}
_SIZES |= {f"{unit}ib": 1024**power for power, unit in enumerate("kmgt", 1)}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")


def parse_size(text: str) -> int:
    """`16MiB` -> 16777216. Raises ValueError for what is no size of at least one byte."""
    number, unit = _split(text, _SIZES, "a size (16MiB, 500MB)")
    size = int(number * _SIZES[unit])
    if size < 1:
        raise ValueError(f"{text!r} is less than one byte")
    return size


def parse_duration(text: str) -> datetime.timedelta:
    """`7d`, `12h`; 0 needs a unit too. Raises ValueError for what is no duration."""
    number, unit = _split(text, _SECONDS, "a duration (7d, 12h, 30min)")
    try:
        return datetime.timedelta(seconds=number * _SECONDS[unit])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than anything lasts") from None


def _split(text: str, units: dict[str, int], what: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{text!r} is not {what}")
    return float(match[1]), match[2].lower()


def show_size(size: float) -> str:
    """3_000_000_000 -> `3.0 GB`; below a kilobyte whole bytes."""
    for factor, unit in ((1000**4, "TB"), (1000**3, "GB"), (1000**2, "MB"), (1000, "kB")):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:.0f} {'byte' if size == 1 else 'bytes'}"


def show_rate(size: float, seconds: float) -> str:
    """Bytes in so many seconds -> `244.0 MB/s`."""
    return f"{show_size(size / max(seconds, 1e-6))}/s"


def show_duration(seconds: float) -> str:
    """75.2 -> `1:15`, 4000 -> `1:06:40`; below ten seconds `7.5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
