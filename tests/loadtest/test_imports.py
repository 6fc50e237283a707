"""The load test's folders and modules import one way."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

from loadtest.scenarios.known import SCENARIOS

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
            "boto3_uploads",
            "refused",
            "probes",
            "closed_loop",
        ],
    ),
    ("", ["settings"]),
    (
        "servers",
        [
            "certificates",
            "nginx",
            "kinds",
            "processes",
            "seaweedfs",
            "stores",
            "deployments",
        ],
    ),
    (
        "measuring",
        [
            "resources",
            "statistics",
            "fates",
            "kept",
            "stored",
            "relay",
            "read_back",
            "measure",
            "plan",
            "jobs",
            "session",
            "holding",
        ],
    ),
    (
        "reports",
        [
            "findings",
            "metrics",
            "as_text",
            "as_json",
            "figures",
            "as_html",
            "environment",
            "progress",
        ],
    ),
    ("scenarios", ["contract", "uploads", "tax", "refusals", "stalled", "storage", "known"]),
    ("", ["assertions", "parser", "cli", "__main__"]),
]
FOLDERS = [folder for folder, _ in HOUSE if folder]
MODULES = [f"{folder}.{name}".lstrip(".") for folder, names in HOUSE for name in names]


def path_of(module: str) -> Path:
    return LOADTEST / f"{module.replace('.', '/')}.py"


@functools.cache
def nodes_of(module: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path_of(module).read_text())))


def imports(module: str) -> Iterator[str]:
    """The modules of the load test that a module imports, wherever in it."""
    for node in nodes_of(module):
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


@pytest.mark.parametrize("name", [known.name for known in SCENARIOS if known.switch])
def test_a_scenario_is_known_by_name_in_its_file_alone(name: str) -> None:
    """And in the one that lists them: a new scenario is its file, and a place in that list."""
    own = f"scenarios.{name}"
    knowing = {module for module in MODULES if own in imports(module) or speaks_of(name, module)}
    assert knowing == {own, "scenarios.known"}


def speaks_of(name: str, module: str) -> bool:
    """Whether it has the name as a string, the option in a sentence, or a setting of that name."""
    nodes = nodes_of(module)
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
    strings = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node not in docstrings
    ]
    settings = [
        ast.unparse(node)
        for node in nodes
        if isinstance(node, ast.Attribute) and node.attr == name
    ]
    return (
        name in strings
        or any(f"--{name}" in string for string in strings)
        or any(each.endswith(f"settings.{name}") for each in settings)
    )


def test_each_scenario_is_listed() -> None:
    modules = dict(HOUSE)["scenarios"]
    assert {each.name for each in SCENARIOS} == {*modules} - {"contract", "known"}
