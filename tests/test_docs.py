"""What README.md and docs/ say is what the package does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT
from flask import Flask, request
from greenlets import hub_scheduler, in_greenlet
from http_client import FORM_TYPE, Part, form
from live_server import wait_until
from werkzeug.test import Client
from wsgi import call, environ

from cooperative_upload import UploadProgress
from cooperative_upload.monitoring.access_log import ATOMS
from cooperative_upload.monitoring.board import ENDINGS, EVENTS, GAUGES, PATH_BYTES, RECORDS
from cooperative_upload.monitoring.monitor import KEPT_SECONDS
from cooperative_upload.monitoring.overview import STATES, Overview, UploadOverview, WorkerOverview
from cooperative_upload.monitoring.upload_id import RULE
from cooperative_upload.settings import ENVIRONMENT_PREFIX, UploadSettings
from loadtest import parser

README = (ROOT / "README.md").read_text()
LOOPBACK = {"REMOTE_ADDR": "127.0.0.1"}
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def words(text: str) -> str:
    return " ".join(text.split())


def shown(default: Any) -> str:
    if isinstance(default, str):
        return default or "empty"
    return f"{int(default) if isinstance(default, bool) else default:,}"


@pytest.mark.parametrize("setting", dataclasses.fields(UploadSettings), ids=lambda f: f.name)
def test_settings_are_documented_in_their_own_words(setting: dataclasses.Field[Any]) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    section = page.partition(f"\n## {setting.name}\n")[2].partition("\n## ")[0]
    assert f"`{ENVIRONMENT_PREFIX}{setting.name.upper()}`" in section
    assert f"default {shown(setting.default)}." in section
    assert words(setting.metadata["doc"]) in words(section)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == [
        field.name for field in dataclasses.fields(UploadSettings)
    ]


def test_the_flask_example_saves_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flask_example = next(example for example in EXAMPLES if "Flask" in example)
    assert len([line for line in flask_example.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "app"}
    exec(flask_example, names)
    answer = (
        names["app"]
        .test_client()
        .post("/upload", data={"file": (io.BytesIO(b"content"), "name.bin")})
    )
    assert answer.json == {"name": "name.bin"}
    assert (tmp_path / "upload.bin").read_bytes() == b"content"


def begun_by_tus(app: Flask) -> str:
    """The address of an upload in three pieces."""
    client, fields = app.test_client(), {"Tus-Resumable": "1.0.0"}
    token = {"Authorization": "Bearer kQ3vT9-eY_7wLr2MzX0a"}
    metadata = "filename YS5wbmc=,filetype aW1hZ2UvcG5n"  # a.png, image/png
    begin = {**fields, **token, "Upload-Length": "7", "Upload-Metadata": metadata}
    address = f"/{client.post('/files', headers=begin).headers['Location']}"
    for offset, data in ((0, b"con"), (3, b"tent")):
        more = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        answer = client.patch(address, headers={**fields, **token, **more}, data=data)
        assert answer.status_code == 204, answer.text
    return address


def in_folder(example: str, folder: Path) -> str:
    (folder / "files").mkdir()
    return example.replace("/srv/", f"{folder}/")


def test_the_resumable_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [each for each in EXAMPLES if "Uploads(" in each]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {"__name__": "app"}
    exec(in_folder(example, tmp_path), names)
    with contextlib.closing(names["uploads"]) as uploads:
        id = begun_by_tus(names["app"]).rpartition("/")[2]
        assert uploads.path(id).read_bytes() == b"content"
        wait_until(lambda: "a.png" in capsys.readouterr().out, "ready() was called")


def test_the_example_of_the_resumable_page(tmp_path: Path) -> None:
    """Who may, what is accepted, and what is there."""
    page = (ROOT / "docs" / "resumable.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"__name__": "app"}
    exec(in_folder(example, tmp_path), names)
    with contextlib.closing(names["uploads"]):
        client = names["app"].test_client()
        begin = {"Tus-Resumable": "1.0.0", "Upload-Length": "7"}
        assert client.post("/files", headers=begin).status_code == 401
        id = begun_by_tus(names["app"]).rpartition("/")[2]
        assert client.get("/mine").json == [{"id": id, "name": "a.png", "size": 7}]
        program = {
            "Upload-Complete": "?1",
            "Content-Type": "image/png",
            "Authorization": "Bearer kQ3vT9-eY_7wLr2MzX0a",
        }
        answer = client.post("/files", headers=program, data=b"MZ\x90\x00")
        assert (answer.status_code, answer.headers["Upload-Complete"]) == (422, "?1")
        assert client.post("/files", headers=program, data=b"\x89PNG").status_code == 200


@pytest.mark.usefixtures("werkzeug_restored")
def test_the_wrapper_example_wraps() -> None:
    """In a greenlet the application reads a cooperative input."""
    app = Flask(__name__)
    app.post("/")(lambda: type(request.environ["wsgi.input"]).__name__)
    exec(next(example for example in EXAMPLES if "Middleware" in example), {"app": app})
    with hub_scheduler():
        answer = in_greenlet(lambda: call(app, environ(b"x" * 100_000)))
    assert answer.body == b"CooperativeInput"


@pytest.mark.usefixtures("werkzeug_restored")
def test_the_examples_of_the_wrapper_page(tmp_path: Path) -> None:
    """Middleware, extension and bodies as they come, all in one application."""
    page = (ROOT / "docs" / "wrapper.md").read_text()
    app = Flask(__name__)
    names: dict[str, Any] = {"app": app, "request": request}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(example.replace("/srv/files", str(tmp_path)), names)
    client = app.test_client()
    answer = client.put("/files/a.bin", data=b"content")
    assert answer.json == {"size": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    fields = {"title": "a title", "file": (io.BytesIO(b"of a form"), "b.bin")}
    assert client.post("/forms", data=fields).text == "stored"
    assert (tmp_path / "b.bin").read_bytes() == b"of a form"
    assert client.put("/files/..%2Fc", data=b"x").status_code == 400
    assert client.put("/files/new/directory/c.bin", data=b"x").status_code == 200
    assert (tmp_path / "new" / "directory" / "c.bin").read_bytes() == b"x"
    for taken in ("a.bin/below", "new"):
        assert client.put(f"/files/{taken}", data=b"x").status_code == 409
    browsers = form(Part("unused", b"", ""), Part("file", b"x", "Q3: results.pdf"))
    assert client.post("/forms", data=browsers, content_type=FORM_TYPE).text == "stored"
    assert (tmp_path / "Q3: results.pdf").read_bytes() == b"x"


def test_the_examples_of_the_status_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Flask with a token, beside any application with a list, and behind ProxyFix."""
    page = (ROOT / "docs" / "monitoring.md").read_text()
    section = page.partition("\n## Status page\n")[2].partition("\n## ")[0]
    in_flask, beside_any, behind_nginx = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.setenv("STATUS_TOKEN", "kQ3vT9-eY_7wLr2MzX0a")
    flask = Flask(__name__)
    exec(in_flask, {"app": flask})
    bearer = {"Authorization": "Bearer kQ3vT9-eY_7wLr2MzX0a"}
    assert flask.test_client().get("/upload-status/status.json").status_code == 401
    assert flask.test_client().get("/upload-status/status.json", headers=bearer).json
    names: dict[str, Any] = {"application": Flask(__name__).wsgi_app}
    exec(beside_any, names)
    direct = names["application"]
    app = SimpleNamespace(wsgi_app=direct)
    exec(behind_nginx, {"app": app})
    for address, status in {"10.20.30.40": 200, "10.21.30.40": 403}.items():
        forwarded = {"X-Forwarded-For": f"127.0.0.1, {address}"}
        for application, expected in ((direct, 403), (app.wsgi_app, status)):
            client = Client(application)
            answer = client.get("/upload-status/", headers=forwarded, environ_base=LOOPBACK)
            assert answer.status_code == expected


def test_the_example_of_progress() -> None:
    """It is mounted, its answers have what the table says, and ids are as is said."""
    section = MONITORING.partition("\n## Progress for your own users\n")[2].partition("\n## ")[0]
    (in_flask,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    app = Flask(__name__)
    exec(in_flask, {"app": app})
    client = app.test_client()
    answer = client.get("/progress", headers={"X-Progress-ID": "0123456789abcdef"})
    rows = section.partition("\n| answer | |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    named = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in rows]
    assert set(answer.get_json()) == {name for names in named for name in names}
    assert client.get("/progress").status_code == 400
    assert RULE in words(section.replace("`", ""))


def test_the_bounds_of_progress() -> None:
    """Said are those that there are."""
    section = words(MONITORING.partition("\n## Progress for your own users\n")[2])
    bounds = inspect.signature(UploadProgress).parameters
    assert bounds["wait_seconds"].default == 10
    assert "A stream waits ten seconds" in section
    assert f"A stream lasts {bounds['longest_seconds'].default:.0f} seconds" in section
    assert f"at most {bounds['most_streams'].default} in a worker" in section
    assert f"can be asked for, for {KEPT_SECONDS:.0f} seconds" in section


def test_the_faults_name_tests_that_exist() -> None:
    """Each row of the table names its tests; `::name` is of the file that was named last."""
    table, _, _ = (ROOT / "docs" / "faults.md").read_text().partition("## In numbers")
    rows = [
        line
        for line in table.splitlines()
        if line.startswith("| ") and not line.startswith("| fault ")
    ]
    assert len(rows) > 25
    for row in rows:
        source = ""
        tests = re.findall(r"`([\w/]+\.py)?::(\w+)`", row)
        assert tests, row
        for file, name in tests:
            source = (ROOT / "tests" / file).read_text() if file else source
            assert re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE), name


MONITORING = (ROOT / "docs" / "monitoring.md").read_text()


def table_of(head: str) -> dict[str, str]:
    """The rows of the table of monitoring.md with this head."""
    rows = MONITORING.partition(f"\n| {head} | |\n|---|---|\n")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", rows, re.MULTILINE))


@pytest.mark.parametrize(
    ("head", "meanings"),
    [
        ("variable", {name: meaning for name, (meaning, _) in ATOMS.items()}),
        ("ending", ENDINGS),
        ("event", EVENTS),
        ("now", GAUGES),
    ],
)
def test_numbers_are_documented_in_their_own_words(head: str, meanings: dict[str, str]) -> None:
    assert list(table_of(head).items()) == list(meanings.items())


def test_all_that_is_told_is_documented() -> None:
    """Each field, each state and each histogram, in the order in which they are told."""
    fields, _, fields_of_workers = MONITORING.partition("### Each worker")
    for of, page in ((UploadOverview, fields), (WorkerOverview, fields_of_workers)):
        table = page.partition("\n| field | |\n")[2].partition("\n\n")[0]
        assert re.findall(r"^\| `(.+?)` ", table, re.MULTILINE) == [
            field.name for field in dataclasses.fields(of)
        ]
    assert list(table_of("state")) == list(STATES)
    histograms = [
        field.name for field in dataclasses.fields(Overview) if field.type == "HistogramOverview"
    ]
    assert list(table_of("histogram")) == histograms
    assert f"at most {PATH_BYTES} bytes" in MONITORING
    assert f"up to {RECORDS} of each worker" in MONITORING


PAGES = [
    ROOT / "README.md",
    ROOT / "loadtest" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\[([^]]+)\]\(([^)]+)\)")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """Each heading with the text below it, by its anchor; the empty one has the whole page."""
    text = prose(page)
    pieces = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    titles = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in pieces[1::2]]
    texts = map("".join, zip(pieces[1::2], pieces[2::2], strict=True))
    return {"": text, **dict(zip(titles, texts, strict=True))}


@each_page
def test_the_commands_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = set(" ".join(targets).split())
    text = page.read_text()
    in_blocks = "".join(re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    named = re.findall(r"`make ([a-z]+)", text) + re.findall(r"^make ([a-z]+)", in_blocks, re.M)
    assert set(named) <= known


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that there is, and to a heading of it."""
    for _, link in LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in sections(target), link


@each_page
def test_links_lead_to_what_they_name(page: Path) -> None:
    """One whose text is code leads to the section that explains it, or to its source."""
    for shown, link in LINK.findall(prose(page)):
        name, _, anchor = link.partition("#")
        if not (code := re.fullmatch(r"`(\w+).*`", shown)) or not name.endswith(".md"):
            continue
        assert anchor, f"{shown} has no section in {link}"
        assert code[1] in sections(page.parent / name)[anchor], link


@each_page
def test_other_pages_are_spoken_of_by_links(page: Path) -> None:
    """What "the README says" would be missed by nobody when it is gone."""
    text = LINK.sub("", prose(page))
    assert not re.search(r"\b(README|[a-z]+\.md)\b", text)


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    folders = "cooperative_upload|docs|examples|loadtest|requirements|tests"
    for name in re.findall(rf"`((?:{folders})/[^`\s:]+)", page.read_text()):
        assert (ROOT / name).exists(), name


def test_the_load_test_takes_as_long_everywhere() -> None:
    """54 s on a machine of two cores, 69 to 88 s where others used more than one of them, 106 s
    with installing."""
    pages = [ROOT / name for name in ("README.md", "Makefile", "loadtest/README.md")]
    for said in (*(page.read_text() for page in pages), parser.make_parser().description or ""):
        assert "in a minute or two" in words(said).lower()
