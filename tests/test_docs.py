"""What README.md and docs/ say is what the package does."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest
from greenlets import in_greenlet

from cooperative_upload.settings import ENVIRONMENT_PREFIX, UploadSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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


def test_the_wrapper_example_counts_a_body() -> None:
    names: dict[str, Any] = {}
    exec(next(example for example in EXAMPLES if "CooperativeInput" in example), names)
    environ = {"CONTENT_LENGTH": "7", "wsgi.input": io.BytesIO(b"one\ntwo")}
    statuses: list[str] = []

    def serve() -> list[bytes]:
        body: list[bytes] = names["application"](environ, lambda s, h: statuses.append(s))
        return body

    assert in_greenlet(serve) == [b"7"]
    assert statuses == ["200 OK"]


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
        tests = re.findall(r"`(\w+\.py)?::(\w+)`", row)
        assert tests, row
        for file, name in tests:
            source = (ROOT / "tests" / file).read_text() if file else source
            assert re.search(rf"^def {name}\(", source, re.MULTILINE), name


def test_the_commands_exist() -> None:
    targets = re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = set(" ".join(targets).split())
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= known


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "loadtest" / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)
