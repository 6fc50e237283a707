"""The demo application, called directly: what it answers is what the load test verifies."""

from __future__ import annotations

import hashlib
import io

import pytest
from flask.testing import FlaskClient

from examples.demo import app

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def client() -> FlaskClient:
    return app.test_client()


def test_ping(client: FlaskClient) -> None:
    assert client.get("/ping").text == "pong"


def test_the_page_needs_no_other_host(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.mimetype == "text/html"
    assert 'id="graph"' in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_an_upload_is_counted_and_hashed(client: FlaskClient) -> None:
    form = {"file": (io.BytesIO(CONTENT), "a.bin")}
    assert client.post("/upload", data=form).json == {"size": len(CONTENT)}
    form = {"file": (io.BytesIO(CONTENT), "a.bin")}
    answer = client.post("/upload?sha256=1", data=form).json
    assert answer == {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}


def test_several_files_count_together(client: FlaskClient) -> None:
    form = {"file": [(io.BytesIO(CONTENT), "a.bin"), (io.BytesIO(CONTENT), "b.bin")]}
    answer = client.post("/upload?sha256=1", data=form).json
    assert answer == {
        "size": 2 * len(CONTENT),
        "sha256": hashlib.sha256(CONTENT * 2).hexdigest(),
    }


def test_a_form_without_a_file_is_refused(client: FlaskClient) -> None:
    assert client.post("/upload", data={"other": "text"}).status_code == 400


def test_a_raw_body_is_counted_and_hashed(client: FlaskClient) -> None:
    assert client.put("/raw", data=CONTENT).json == {"size": len(CONTENT)}
    answer = client.put("/raw?sha256=1", data=CONTENT).json
    assert answer == {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
