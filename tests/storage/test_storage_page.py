"""The examples of docs/storage.md, in one application."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

PAGE = (ROOT / "docs" / "storage.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "app"}
    for example in EXAMPLES:
        exec(example.replace("/srv/files", str(tmp_path)), names)
    return names


def test_the_application(names: dict[str, Any], tmp_path: Path) -> None:
    client = names["app"].test_client()
    answer = client.put("/files/a/b.bin", data=b"content", content_type="image/png")
    assert answer.json == {"name": "a/b.bin", "size": 7}
    assert names["storage"].stat("a/b.bin").content_type == "image/png"
    assert client.put("/files/a/b.bin", data=b"other").status_code == 409
    assert client.put("/files/..%2Fb", data=b"x").status_code == 400
    assert client.get("/files/a/b.bin").data == b"content"
    assert client.get("/files/nothing").status_code == 404
    answer = client.post("/upload", data={"file": (io.BytesIO(b"of a form"), "c.bin")})
    assert (answer.json["name"], answer.json["size"]) == ("c.bin", 9)
    assert (tmp_path / answer.json["key"]).read_bytes() == b"of a form"


def test_the_writing(names: dict[str, Any], tmp_path: Path) -> None:
    assert (tmp_path / "films" / "a.mkv").read_bytes() == b"abcdef"


def test_the_first_example_is_short() -> None:
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 10
