"""Imports run one way, and need nothing that is not declared."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cooperative_upload

PACKAGE = Path(cooperative_upload.__file__).parent
LOADTEST = PACKAGE.parent / "loadtest"

# From the ground up: a module imports from those before it alone.
FLOORS = [
    "context_scope",
    "errors",
    "answer",
    "safe_path",
    "digests",
    "settings",
    "settings_in_force",
    "limits",
    "hub",
    "upload_id",
    "board",
    "monitor",
    "overview",
    "prometheus",
    "statsd",
    "status_page",
    "loop_probe",
    "scheduler",
    "progress",
    "blocks",
    "file_content",
    "file_access",
    "tls_records",
    "unnamed_file",
    "saving",
    "writer",
    "last_use",
    "disk_file",
    "spool",
    "target",
    "body",
    "wsgi_input",
    "multipart",
    "parse_limits",
    "first_reader",
    "werkzeug_patch",
    "streaming",
    "admission",
    "ending",
    "access_log",
    "middleware",
    "flask_ext",
    "django_ext",
    "deadline",
    "lingering",
    "exchange",
    "worker",
    "__init__",
]

REQUIRED = {"gevent", "werkzeug", "gunicorn"}  # install_requires in setup.cfg

# What a module needs beyond that: who imports it has the framework, or is told what is missing.
OPTIONAL = {
    "flask_ext": {"flask"},
    "django_ext": {"django"},
    "digests": {"google_crc32c"},
    "prometheus": {"prometheus_client"},
}


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, dotted name) of each import in a file, wherever in it: `from . import x` is
    (1, "x")."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.module is None:
                found += [(node.level, alias.name) for alias in node.names]
            else:
                found.append((node.level, node.module))
    return found


def test_every_module_has_its_floor() -> None:
    """A new module takes its place in the list above."""
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == sorted(FLOORS)


@pytest.mark.parametrize("module", FLOORS)
def test_a_module_imports_from_below_only(module: str) -> None:
    """No cycles, and no shortcut from the ground to the roof."""
    below = FLOORS[: FLOORS.index(module)]
    for level, name in imports(PACKAGE / f"{module}.py"):
        if level:
            assert level == 1
            assert name.split(".")[0] in below
        else:
            assert not name.startswith("cooperative_upload")


@pytest.mark.parametrize("module", FLOORS)
def test_the_core_needs_what_it_declares(module: str) -> None:
    """The standard library, gevent and werkzeug; gunicorn in the worker alone."""
    allowed = set(sys.stdlib_module_names) | REQUIRED | OPTIONAL.get(module, set())
    if module != "worker":
        allowed.discard("gunicorn")
    foreign = {
        name.split(".")[0] for level, name in imports(PACKAGE / f"{module}.py") if not level
    }
    assert foreign <= allowed


def test_the_package_needs_no_framework() -> None:
    """What is optional is loaded by who asks for it."""
    program = """if True:
        import sys
        for name in ("flask", "google_crc32c", "django", "prometheus_client"):
            sys.modules[name] = None
        import cooperative_upload
        for name in cooperative_upload.__all__:
            getattr(cooperative_upload, name)
        try:
            import cooperative_upload.flask_ext
        except ImportError as error:
            assert "flask" in str(error), error
        else:
            raise SystemExit("the Flask extension without Flask")
        try:
            import cooperative_upload.prometheus
        except ImportError as error:
            assert "pip install prometheus_client" in str(error), error
        else:
            raise SystemExit("the collector without prometheus_client")
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_the_worker_alone_needs_gunicorn() -> None:
    """The wrapper works where gunicorn is not installed, and the name Worker says what lacks."""
    program = """if True:
        import sys
        sys.modules["gunicorn"] = None
        import cooperative_upload
        from cooperative_upload import *
        body = CooperativeInput(__import__("io").BytesIO(b"abc"), 3)
        assert body.read() == b"abc"
        try:
            cooperative_upload.Worker
        except ImportError as error:
            assert "gunicorn" in str(error), error
        else:
            raise SystemExit("Worker without gunicorn")
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_importing_changes_nothing() -> None:
    """An import patches neither werkzeug nor the standard library, makes no hub, no threads."""
    program = """if True:
        import socket, threading, werkzeug.formparser, werkzeug.wrappers.request
        from werkzeug.datastructures import FileStorage
        before = (socket.socket, werkzeug.formparser.default_stream_factory, FileStorage.save)
        import cooperative_upload, cooperative_upload.werkzeug_patch, gevent.hub
        after = (socket.socket, werkzeug.formparser.default_stream_factory, FileStorage.save)
        assert before == after
        assert gevent.hub._get_hub() is None
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.skipif(not LOADTEST.is_dir(), reason="the load test is not beside the package")
def test_the_load_test_does_not_import_what_it_measures() -> None:
    """It measures any server the same way."""
    names = [name for path in LOADTEST.rglob("*.py") for _, name in imports(path)]
    assert names
    assert not [name for name in names if name.startswith("cooperative_upload")]


def test_all_names_exist() -> None:
    """__all__ promises nothing that is not there."""
    for name in cooperative_upload.__all__:
        assert getattr(cooperative_upload, name) is not None
    assert cooperative_upload.__all__ == sorted(set(cooperative_upload.__all__))


def test_all_names_are_listed() -> None:
    """What __init__ imports for others to use is in __all__; the Worker needs gunicorn."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert imported == {*cooperative_upload.__all__, "Worker"}


def test_unknown_names_are_attribute_errors() -> None:
    """The lazy Worker does not make every name look there."""
    with pytest.raises(AttributeError, match="'Wroker'"):
        cooperative_upload.Wroker  # noqa: B018
