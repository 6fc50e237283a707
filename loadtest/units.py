"""Sizes, speeds, durations and counts as people write them, and back.

A megabyte is 1,000,000 bytes here, as in the MB/s of networks and disks; memory is given in
MiB. No function of this module does I/O.
"""

from __future__ import annotations

import re

_SIZES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "kib": 1024,
    "m": 1000**2,
    "mb": 1000**2,
    "mib": 1024**2,
    "g": 1000**3,
    "gb": 1000**3,
    "gib": 1024**3,
}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_size(text: str) -> int:
    """`3GB` -> 3_000_000_000. Raises ValueError on anything else, and on less than one byte."""
    number, unit = _split(text)
    if unit.lower() not in _SIZES:
        raise ValueError(f"{text!r} is not a size (examples: 500MB, 3GB, 64KiB)")
    size = int(number * _SIZES[unit.lower()])
    if size < 1:
        raise ValueError(f"{text!r} is less than one byte")
    return size


def parse_seconds(text: str) -> float:
    """`25ms` -> 0.025. A bare number is in seconds."""
    number, unit = _split(text)
    if unit not in _SECONDS:
        raise ValueError(f"{text!r} is not a duration (examples: 25ms, 1.5s)")
    return number * _SECONDS[unit]


def _split(text: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number with a unit")
    return float(match[1]), match[2]


def format_number(number: float) -> str:
    """1234.5 -> `1,234`, 2.345 -> `2.35`: three digits or all whole ones, for sentences."""
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:.3g}"


def format_size(size: float) -> str:
    """3_000_000_000 -> `3 GB`, 1_500_000 -> `1.5 MB`."""
    for factor, unit in ((1000**3, "GB"), (1000**2, "MB"), (1000, "kB")):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


def count(number: int, noun: str) -> str:
    """8, `upload` -> `8 uploads`."""
    return f"{format(number, ',') if number else 'no'} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """0.0091 -> `9.1 ms`, 14.62 -> `14.6 s`: three digits at most, for sentences."""
    if seconds < 0.9995:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    return f"{seconds:.1f} s"


def format_ms(seconds: float) -> str:
    """0.0091 -> `9.1`, 14.62 -> `14,620`: the number of milliseconds, for tables."""
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
