"""The load test's folders and modules import one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

LOADTEST = ROOT / "loadtest"

# From the ground up: a module imports from those before it alone. "" is the load test itself: its
# ground comes first, its entrance last; the settings are made of what clients can be told.
HOUSE = [
    ("", ["errors", "units", "interrupts", "options"]),
    (
        "clients",
        [
            "bodies",
            "pace",
            "http1",
            "http2",
            "protocols",
            "connection",
            "crew",
            "uploads",
            "refused",
            "probes",
            "closed_loop",
        ],
    ),
    ("", ["settings"]),
    ("servers", ["certificates", "nginx", "kinds", "processes", "deployments"]),
    (
        "measuring",
        [
            "resources",
            "statistics",
            "fates",
            "measure",
            "plan",
            "jobs",
            "stalled",
            "tax",
            "session",
        ],
    ),
    (
        "reports",
        [
            "findings",
            "as_text",
            "report_refusals",
            "report_stalled",
            "as_json",
            "figures",
            "as_html",
            "environment",
            "progress",
        ],
    ),
    ("", ["assertions", "parser", "cli", "__main__"]),
]
FOLDERS = [folder for folder, _ in HOUSE if folder]
MODULES = [f"{folder}.{name}".lstrip(".") for folder, names in HOUSE for name in names]


def path_of(module: str) -> Path:
    return LOADTEST / f"{module.replace('.', '/')}.py"


def imports(module: str) -> Iterator[str]:
    """The modules of the load test that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("loadtest."):
                inner = name.removeprefix("loadtest.")
                yield inner if path_of(inner).exists() else inner.rpartition(".")[0]


def test_every_module_has_its_place() -> None:
    """A new module takes its place in the list above. The peers are programs of their own."""
    found = {path for path in LOADTEST.rglob("*.py") if "peers" not in path.parts}
    doors = {LOADTEST / folder / "__init__.py" for folder in ("", *FOLDERS)}
    assert found == doors | {path_of(module) for module in MODULES}


def test_no_module_has_the_name_of_its_folder() -> None:
    """It would say nothing of what it holds."""
    assert not [module for module in MODULES if "." in module and len({*module.split(".")}) == 1]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_below_only(module: str) -> None:
    below = MODULES[: MODULES.index(module)]
    assert set(imports(module)) <= set(below)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_it_is_for(folder: str) -> None:
    """And hands nothing on: whoever imports says from which module."""
    tree = ast.parse((LOADTEST / folder / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
