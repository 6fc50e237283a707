"""`cooperative-upload put` to a real S3: what arrives, goes on, is left, is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from live_server import wait_until
from s3_servers import S3Server

from cooperative_upload.storage import Description
from cooperative_upload.storage.s3_objects import described

COMMAND = [sys.executable, "-c", "from cooperative_upload.server import main; main()"]
BUCKET = "commands"
SECONDS = 60
MIB = 1 << 20


@pytest.fixture(scope="module")
def client(seaweed: S3Server) -> Any:
    made = boto3.client(
        "s3", endpoint_url=seaweed.endpoint, region_name="us-east-1",
        aws_access_key_id=seaweed.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=seaweed.variables["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    made.create_bucket(Bucket=BUCKET)
    return made


@pytest.fixture
def work(tmp_path: Path, client: Any, seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; a file that is too large for one part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, text in seaweed.variables.items():
        monkeypatch.setenv(name, text)
    (tmp_path / "a.pdf").write_bytes(os.urandom(MIB) * 40)
    return tmp_path


def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, timeout=SECONDS, check=False
    )


def content_of(client: Any, key: str) -> bytes:
    content: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


def uploads(client: Any, key: str) -> list[str]:
    found = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())
    return [each["UploadId"] for each in found if each["Key"] == key]


def parts(client: Any, key: str) -> int:
    ids = uploads(client, key)
    if not ids:
        return 0
    listed = client.list_parts(Bucket=BUCKET, Key=key, UploadId=ids[0])
    return len(listed.get("Parts", ()))


def broken_off(client: Any, key: str, *words: str) -> tuple[int, bytes]:
    """A put of 200 MB that is sent Ctrl-C when the store has some parts of it."""
    os.truncate("a.pdf", 200 * MIB)
    command = [*COMMAND, "put", "a.pdf", f"s3://{BUCKET}/{key}", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: parts(client, key) > 2, "some parts")
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=SECONDS)[1]
        finally:
            process.kill()
    return process.returncode, said


def test_a_large_file_arrives_whole_with_its_type(work: Path, client: Any) -> None:
    done = run("put", "a.pdf", f"s3://{BUCKET}/large/", "--part-size", "6MiB")
    assert done.returncode == 0, done.stderr
    head = client.head_object(Bucket=BUCKET, Key="large/a.pdf")
    assert head["ContentType"] == "application/pdf"
    assert head["ETag"].encode() in done.stdout
    assert head["ETag"].endswith('-7"')
    assert content_of(client, "large/a.pdf") == (work / "a.pdf").read_bytes()
    assert run("put", "a.pdf", f"s3://{BUCKET}/large/").returncode == 4


@pytest.mark.usefixtures("work")
def test_the_standard_input_arrives_whole(client: Any) -> None:
    content = os.urandom(MIB) * 20
    assert run("put", "-", f"s3://{BUCKET}/stdin", stdin=content).returncode == 0
    assert content_of(client, "stdin") == content


def test_what_broke_off_goes_on_with_the_parts_that_are_there(work: Path, client: Any) -> None:
    status, said = broken_off(client, "broken.pdf")
    assert status == 130
    url = f"s3://{BUCKET}/broken.pdf"
    assert f"To go on: cooperative-upload put --resume a.pdf {url}\n".encode() in said
    before = uploads(client, "broken.pdf")
    done = run("put", "--resume", "a.pdf", url)
    assert done.returncode == 0, done.stderr
    assert b"anew" not in done.stderr
    assert len(before) == 1
    assert uploads(client, "broken.pdf") == []
    assert content_of(client, "broken.pdf") == (work / "a.pdf").read_bytes()
    assert not list((work / "state").rglob("*.json"))


def test_all_or_nothing_leaves_no_upload_behind(work: Path, client: Any) -> None:
    status, said = broken_off(client, "nothing.pdf", "--all-or-nothing")
    assert status == 130
    assert b"To go on" not in said
    assert uploads(client, "nothing.pdf") == []
    assert not list((work / "state").rglob("*.json"))


def test_what_was_left_is_swept(work: Path, client: Any) -> None:
    broken_off(client, "swept.pdf")
    assert uploads(client, "swept.pdf")
    assert run("sweep", f"s3://{BUCKET}", "--older-than", "0s").returncode == 0
    assert uploads(client, "swept.pdf") == []
    os.truncate(work / "a.pdf", 9 * MIB)
    done = run("put", "--resume", "a.pdf", f"s3://{BUCKET}/swept.pdf")
    assert done.returncode == 0, done.stderr
    assert b"was changed since its upload began: it begins anew" in done.stderr


@pytest.mark.usefixtures("work")
def test_what_is_public_has_a_url(seaweed: S3Server) -> None:
    """That everybody may read it is S3's: SeaweedFS takes the ACL of an upload for nothing."""
    Path("a.pdf").write_bytes(b"small")
    done = run("put", "--public", "a.pdf", f"s3://{BUCKET}/public.pdf")
    assert done.returncode == 0, done.stderr
    url = f"{seaweed.endpoint}/{BUCKET}/public.pdf"
    assert done.stdout.decode().splitlines()[1] == url


@pytest.mark.parametrize(("public", "acl"), [(True, "public-read"), (False, None)])
def test_s3_is_told_of_what_is_public(public: bool, acl: str | None) -> None:
    assert described(Description(public=public), "id").get("ACL") == acl


@pytest.mark.parametrize(
    ("variables", "words", "status", "sentence"),
    [
        ({}, ["s3://not-there/a"], 3, "NoSuchBucket"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, [f"s3://{BUCKET}/b"], 3,
         f"s3://{BUCKET}/b: Unable to locate credentials."),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, [f"s3://{BUCKET}/b"], 3, "Forbidden"),
        ({"COOPERATIVE_UPLOAD_STORAGE_RETRY_SECONDS": "0"},
         [f"s3://{BUCKET}/b", "--endpoint", "http://127.0.0.1:1"], 1, "Could not connect"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("work")
def test_a_store_that_takes_nothing_is_a_sentence(
    variables: dict[str, str],
    words: list[str],
    status: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text) if text else monkeypatch.delenv(name)
    done = run("put", "a.pdf", *words)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout) == (status, b""), said
    assert sentence in said
    assert len(said.splitlines()) == 1
