"""Imports run one way, and need nothing that is not declared."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cooperative_upload

PACKAGE = Path(cooperative_upload.__file__).parent
LOADTEST = PACKAGE.parent / "loadtest"

# From the ground up: a folder imports from those before it, and a module of a folder from those
# before it there. "" is the package itself: its ground comes first, its entrances last.
HOUSE = [
    ("", ["context_scope", "errors", "settings", "settings_in_force", "hub"]),
    (
        "monitoring",
        [
            "upload_id",
            "board",
            "monitor",
            "access_log",
            "statsd",
            "overview",
            "prometheus",
            "status_page",
            "progress",
        ],
    ),
    ("turns", ["scheduler", "places", "writer", "last_use", "loop_probe"]),
    (
        "body",
        [
            "blocks",
            "limits",
            "time_limit",
            "tls_records",
            "sources",
            "request_body",
            "wsgi_input",
            "first_reader",
        ],
    ),
    (
        "spool",
        [
            "file_content",
            "file_access",
            "unnamed_file",
            "saving",
            "disk_file",
            "budgets",
            "batches",
            "packed_file",
            "request_spools",
            "temporary_file",
            "target",
        ],
    ),
    (
        "forms",
        [
            "digests",
            "hashing",
            "safe_path",
            "multipart",
            "parse_limits",
            "urlencoded",
            "werkzeug_patch",
            "destinations",
            "streaming",
        ],
    ),
    (
        "exchange",
        [
            "gunicorn_response",
            "beyond_wsgi",
            "answer",
            "admission",
            "ending",
            "cut",
            "deadline",
            "lingering",
            "gunicorn_exchange",
        ],
    ),
    ("", ["middleware", "flask_ext", "django_ext", "worker", "__init__"]),
    (
        "storage",
        [
            "ranges",
            "parts",
            "segments",
            "retries",
            "contract",
            "objects",
            "form_files",
            "keys",
            "part_buffer",
            "transfers",
            "piece_writer",
            "remote_deposit",
            "local_errors",
            "local_folder",
            "local_records",
            "local_publishing",
            "local_deposit",
            "local_journal",
            "local_room",
            "local_writing",
            "local_content",
            "local_listing",
            "local",
            "s3_keys",
            "s3_errors",
            "s3_calls",
            "s3_content",
            "s3_objects",
            "s3_writings",
            "s3_signing",
            "s3",
            "swift_access",
            "swift_answers",
            "swift_connections",
            "swift_client",
            "swift_content",
            "swift_writings",
            "swift_range_writer",
            "swift",
            "addresses",
        ],
    ),
    (
        "uploads",
        [
            "refusals",
            "record",
            "counting",
            "rows",
            "schema",
            "database",
            "registry",
            "processes",
            "waiting",
            "leases",
            "hooks",
            "removal",
            "content",
            "receiving",
            "finishing",
            "outbox",
            "sweeper",
            "background",
            "creating",
            "appending",
            "verbs",
        ],
    ),
    (
        "protocols",
        [
            "structured_fields",
            "dialects",
            "problems",
            "cors",
            "tus_fields",
            "handling",
            "tus",
            "resumable",
            "application",
            "flask_blueprint",
            "django_view",
        ],
    ),
    (
        "server",
        [
            "amounts",
            "destinations",
            "local_files",
            "kept_writings",
            "telling",
            "sending",
            "interrupting",
            "sentences",
            "opening",
            "putting",
            "command_line",
            "entrance",
        ],
    ),
]

# Folders above the entrances: applications import from them, by what they hand on.
PUBLIC = {"storage", "uploads", "protocols", "server"}

# What other folders import by its own name, since not everybody has what it needs.
BY_NAME = {"monitoring.prometheus"}

MODULES = [f"{folder}.{name}".lstrip(".") for folder, names in HOUSE for name in names]

REQUIRED = {"gevent", "werkzeug", "gunicorn"}  # install_requires in setup.cfg

# What a module needs beyond that: who imports it has the framework, or is told what is missing.
OPTIONAL = {
    "flask_ext": {"flask"},
    "django_ext": {"django"},
    "forms.digests": {"google_crc32c"},
    "monitoring.prometheus": {"prometheus_client"},
    "storage.s3_errors": {"botocore", "urllib3"},
    "storage.s3_calls": {"boto3", "botocore"},
    "storage.swift_access": {"keystoneauth1", "openstack"},
    "storage.swift_connections": {"urllib3"},
    "uploads.schema": {"sqlalchemy"},
    "uploads.database": {"sqlalchemy"},
    "uploads.registry": {"sqlalchemy"},
    "uploads.outbox": {"sqlalchemy"},
    "protocols.structured_fields": {"http_sf"},
    "protocols.flask_blueprint": {"flask"},
    "protocols.django_view": {"django"},
    "server.command_line": {"typer"},
    "server.putting": {"platformdirs"},
    "server.telling": {"rich"},
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


def path_of(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"


def test_every_module_has_its_place() -> None:
    """A new module takes its place in the list above, a new folder too."""
    found = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    folders = {folder for folder, _ in HOUSE if folder}
    listed = {path_of(module) for module in MODULES}
    listed |= {PACKAGE / folder / "__init__.py" for folder in folders}
    assert {PACKAGE / path for path in found} == listed


def test_no_module_has_the_name_of_its_folder() -> None:
    """It would say nothing of what it holds."""
    same = [module for module in MODULES if "." in module and len(set(module.split("."))) == 1]
    assert same == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_below_only(module: str) -> None:
    """No cycles, and no shortcut from the ground to the roof."""
    below = MODULES[: MODULES.index(module)]
    folder = module.rpartition(".")[0]
    lower_folders = {other.rpartition(".")[0] for other in below} - {folder}
    for level, name in imports(path_of(module)):
        if level == 0:
            assert not name.startswith("cooperative_upload")
            continue
        inside = level == 1  # of its own folder
        target = f"{folder}.{name}".lstrip(".") if inside else name
        first = target.split(".")[0]
        if inside and folder:
            assert target in below
        elif first in lower_folders:
            assert target == first or target in BY_NAME, "past the folder's door"
        else:
            assert target in below


@pytest.mark.parametrize("folder", [folder for folder, _ in HOUSE if folder])
def test_a_folder_hands_on_what_others_use(folder: str) -> None:
    """__init__ imports from its own modules, says what the folder is, and nothing beside."""
    path = PACKAGE / folder / "__init__.py"
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert {level for level, _ in imports(path)} == {1}
    names = importlib.import_module(f"cooperative_upload.{folder}").__all__
    used = [
        alias.name
        for module in MODULES
        for node in ast.walk(ast.parse(path_of(module).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level and node.module == folder
        for alias in node.names
    ]
    modules = {name for name in used if path_of(f"{folder}.{name}").exists()}
    assert folder in PUBLIC or set(names) <= set(used)
    assert set(used) - modules <= set(names)


@pytest.mark.parametrize("module", MODULES)
def test_the_core_needs_what_it_declares(module: str) -> None:
    """The standard library, gevent and werkzeug; gunicorn in the worker alone."""
    allowed = set(sys.stdlib_module_names) | REQUIRED | OPTIONAL.get(module, set())
    if module != "worker":
        allowed.discard("gunicorn")
    foreign = {name.split(".")[0] for level, name in imports(path_of(module)) if not level}
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
            import cooperative_upload.monitoring.prometheus
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
        import cooperative_upload, cooperative_upload.forms.werkzeug_patch, gevent.hub
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
