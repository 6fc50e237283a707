"""What pages of other origins may do, and what they see."""

from __future__ import annotations

import re

import pytest
from checkout import ROOT

from cooperative_upload.protocols import Cors
from cooperative_upload.protocols.cors import EXPOSED, SENT

PAGE = {"HTTP_ORIGIN": "https://page.example"}
PREFLIGHT = {**PAGE, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PATCH"}


def test_everybody_by_default() -> None:
    found = dict(Cors().headers(PAGE))
    assert found["Access-Control-Allow-Origin"] == "*"
    assert "Upload-Offset" in found["Access-Control-Expose-Headers"].split(", ")
    assert "Vary" not in found


def test_a_preflight() -> None:
    found = dict(Cors(headers=["X-Token"]).headers(PREFLIGHT))
    assert "PATCH" in found["Access-Control-Allow-Methods"].split(", ")
    sent = found["Access-Control-Allow-Headers"].split(", ")
    assert {"Tus-Resumable", "Upload-Complete", "X-Token"} <= set(sent)


def test_requests_without_an_origin() -> None:
    assert Cors().headers({}) == []


def test_named_origins() -> None:
    """Also where none is allowed a cache has to know that it might be."""
    cors = Cors(["https://page.example"], credentials=True)
    found = dict(cors.headers(PAGE))
    assert found["Access-Control-Allow-Origin"] == "https://page.example"
    assert found["Access-Control-Allow-Credentials"] == "true"
    assert found["Vary"] == "Origin"
    assert cors.headers({"HTTP_ORIGIN": "https://other.example"}) == [("Vary", "Origin")]
    assert cors.headers({}) == [("Vary", "Origin")]


def test_credentials_for_everybody_are_refused() -> None:
    with pytest.raises(ValueError, match="origins"):
        Cors(credentials=True)


def test_the_lists_know_every_field_of_the_protocols() -> None:
    """A field that a module of a protocol reads or writes is in one of them."""
    folder = ROOT / "cooperative_upload" / "protocols"
    source = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "cors.py")
    named = set(re.findall(r'"((?:Upload|Tus)(?:-[A-Z][a-z]+)+)"', source))
    assert "Upload-Draft-Interop-Version" in named
    assert named <= {*SENT, *EXPOSED}
