"""Digests: read from headers, computed on the way, and compared."""

from __future__ import annotations

import base64
import builtins
import hashlib
from typing import Any

import pytest

from cooperative_upload.errors import DigestMismatch, MalformedBody
from cooperative_upload.forms.digests import ALGORITHMS, Digests, announced_digests

DATA = b"hello world"
SHA256 = hashlib.sha256(DATA).digest()
SHA512 = hashlib.sha512(DATA).digest()
MD5 = hashlib.md5(DATA).digest()


def coded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def test_all_algorithms() -> None:
    """The values that hashlib gives; for crc32c, those of RFC 3720 appendix B.4 too."""
    digests = Digests(ALGORITHMS)
    digests.update(DATA[:3])
    digests.update(DATA[3:])
    assert digests.values() == {
        "sha-256": SHA256,
        "sha-512": SHA512,
        "sha": hashlib.sha1(DATA).digest(),
        "md5": MD5,
        "crc32c": bytes.fromhex("c99465aa"),
    }
    zeros = Digests(["crc32c"])
    zeros.update(bytes(32))
    assert zeros.values() == {"crc32c": bytes.fromhex("8a9136aa")}


def test_unknown_algorithm() -> None:
    with pytest.raises(ValueError, match="unknown digest 'sha-1': there are sha-256, "):
        Digests(["sha-1"])


def test_crc32c_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it is an error that names the package; announced by a client it is unknown."""
    real_import = builtins.__import__

    def without_crc32c(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "google_crc32c":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_crc32c)
    with pytest.raises(ValueError, match="google-crc32c"):
        Digests(["crc32c"])
    assert announced_digests({"HTTP_CONTENT_DIGEST": "crc32c=:AAAAAA==:"}) == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, []),
        ({"HTTP_CONTENT_DIGEST": ""}, []),
        ({"HTTP_CONTENT_DIGEST": f"sha-256=:{coded(SHA256)}:"}, [("sha-256", SHA256)]),
        ({"HTTP_REPR_DIGEST": f"sha-512=:{coded(SHA512)}:"}, [("sha-512", SHA512)]),
        (
            {"HTTP_CONTENT_DIGEST": f"sha-256=:{coded(SHA256)}:,\t sha-512=:{coded(SHA512)}:"},
            [("sha-256", SHA256), ("sha-512", SHA512)],
        ),
        ({"HTTP_CONTENT_DIGEST": f"sha-256=:{coded(SHA256)}:;a=1;b"}, [("sha-256", SHA256)]),
        ({"HTTP_CONTENT_DIGEST": "unixsum=:AAAA:, whirlpool2=:AAAA:"}, []),
        ({"HTTP_CONTENT_MD5": coded(MD5)}, [("md5", MD5)]),
        (
            {
                "HTTP_CONTENT_MD5": coded(MD5),
                "HTTP_REPR_DIGEST": f"sha-256=:{coded(SHA256)}:",
            },
            [("sha-256", SHA256), ("md5", MD5)],
        ),
    ],
)
def test_announced(headers: dict[str, str], expected: list[tuple[str, bytes]]) -> None:
    """Those that can be computed, in the order of the headers; the others are passed over."""
    assert announced_digests(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_CONTENT_DIGEST": "sha-256"},
        {"HTTP_CONTENT_DIGEST": "sha-256=abc"},
        {"HTTP_CONTENT_DIGEST": 'sha-256="abc"'},
        {"HTTP_CONTENT_DIGEST": "sha-256=:abc:"},
        {"HTTP_CONTENT_DIGEST": "SHA-256=:AAAA:"},
        {"HTTP_CONTENT_DIGEST": "sha-256=:AAAA: sha-512=:AAAA:"},
        {"HTTP_REPR_DIGEST": "=:AAAA:"},
        {"HTTP_CONTENT_MD5": "not base64"},
        {"HTTP_CONTENT_MD5": "abc"},
    ],
)
def test_malformed(headers: dict[str, str]) -> None:
    """A header that can't be read is a 400: the client wanted to be safe and would not be."""
    with pytest.raises(MalformedBody):
        announced_digests(headers)


def test_check() -> None:
    """A right one passes; a wrong one raises with both values."""
    digests = Digests(["sha-256", "md5"])
    digests.update(DATA)
    digests.check([("sha-256", SHA256), ("md5", MD5)])
    wrong = bytes(32)
    with pytest.raises(DigestMismatch) as caught:
        digests.check([("md5", MD5), ("sha-256", wrong)])
    error = caught.value
    assert (error.algorithm, error.announced, error.computed) == ("sha-256", wrong, SHA256)
    assert error.code == 400
    assert error.description is not None
    assert SHA256.hex() in error.description
    assert wrong.hex() in error.description
