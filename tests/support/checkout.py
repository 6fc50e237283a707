"""Where this checkout is, and what it is made of."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Applications and helpers of the tests, each importable by its own name.
SUPPORT = ROOT / "tests" / "support"

# The page whose tables and lists the tests hold against what is told.
MONITORING_PAGE = ROOT / "docs" / "monitoring.md"
