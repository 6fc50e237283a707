"""`cooperative-upload` as a user runs it: a process of its own, with a folder as the storage."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest
from loadtest_runs import wait_until

from cooperative_upload.storage import LocalStorage

COMMAND = [sys.executable, "-c", "from cooperative_upload.server import main; main()"]
SECONDS = 60
LARGE = 9_000_000  # bytes: more than goes in one go
SLOW = 400_000_000  # bytes: takes long enough to be ended meanwhile


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs: with a file, a storage, and a state directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "a.txt").write_bytes(b"content")
    (tmp_path / "root").mkdir()
    return tmp_path


def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, timeout=SECONDS, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def kept(work: Path) -> list[Path]:
    return [path for path in (work / "state").rglob("*.json") if path.stat().st_size]


def left(work: Path) -> list[Path]:
    """What is in the storage besides objects."""
    hidden = work / "root" / ".uploads"
    return [path for path in hidden.rglob("*") if path.is_file()]


@contextlib.contextmanager
def slowly(work: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A put of which something is durable, and not all."""
    os.truncate(work / "a.txt", SLOW)
    url = f"file://{work}/root/"
    with subprocess.Popen(
        [*COMMAND, "put", "a.txt", url, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            wait_until(lambda: is_durable(work), SECONDS)
            yield process
        finally:
            process.kill()


def is_durable(work: Path) -> bool:
    """Whether something is, of the one writing that there is."""
    storage = LocalStorage(work / "root")
    return any(storage.durable(token).total for token in storage.leftovers(timedelta(0)))


def test_a_file_is_put_listed_and_removed(work: Path) -> None:
    url = f"file://{work}/root"
    done = run("put", "a.txt", f"{url}/")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{url}/a.txt  7 bytes in \d\.\d s \(.*/s\)  ETag \S+\n", done.stdout), (
        done.stdout
    )
    assert (work / "root" / "a.txt").read_bytes() == b"content"
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d +7 bytes  {url}/a.txt\n", run("ls", f"{url}/a").stdout
    )
    assert run("rm", f"{url}/a.txt").returncode == 0
    assert run("ls", f"{url}/").stdout == ""


def test_several_files_and_the_status_of_the_first_failure(work: Path) -> None:
    (work / "b.txt").write_bytes(b"other")
    done = run("put", "a.txt", "nothing.txt", "b.txt", f"file://{work}/root/")
    assert done.returncode == 1
    assert done.stderr == (
        "cooperative-upload: nothing.txt can't be read: No such file or directory.\n"
    )
    assert len(done.stdout.splitlines()) == 2
    done = run("put", "-q", "a.txt", "b.txt", f"file://{work}/root/")
    assert (done.returncode, done.stdout) == (4, "")
    assert [line.split(" is ")[1] for line in done.stderr.splitlines()] == [
        "there already: --overwrite replaces it."
    ] * 2
    (work / "a.txt").write_bytes(b"newer")
    assert run("put", "--overwrite", "a.txt", "b.txt", f"file://{work}/root/").returncode == 0
    assert (work / "root" / "a.txt").read_bytes() == b"newer"


def test_the_standard_input_has_no_size(work: Path) -> None:
    content = os.urandom(LARGE)
    done = run("put", "-", f"file://{work}/root/stdin.bin", stdin=content)
    assert done.returncode == 0, done.stderr
    assert (work / "root" / "stdin.bin").read_bytes() == content
    assert not kept(work)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["put", "a.txt", "root/a.txt"], "'root/a.txt' is no URL of a storage"),
        (["put", "a.txt", "ftp://host/a.txt"], "no storage 'ftp://host'"),
        (["put", "a.txt", "file:///not/there/a.txt"], "there is no directory '/not/there'"),
        (["put", "-", "file:///tmp/"], "no name of its own"),
        (["put", "--public", "a.txt", "file:///tmp/"], "--public is of S3"),
        (["put", "--endpoint", "http://h", "a.txt", "file:///tmp/"], "--endpoint means nothing"),
        (["put", "--part-size", "8XB", "a.txt", "file:///tmp/"], "'8XB' is not a size"),
        (["sweep", "file:///tmp", "--older-than", "7"], "'7' is not a duration"),
        (["ls", "root"], "'root' is no URL of a storage"),
        (["rm", "file:///tmp/"], "The name is empty"),
        (["put", "a.txt"], "Missing argument"),
    ],
)
@pytest.mark.usefixtures("work")
def test_what_makes_no_sense_is_said_in_a_sentence(words: list[str], sentence: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_is_not_allowed_is_said_in_a_sentence(work: Path) -> None:
    (work / "a.txt").chmod(0)
    done = run("put", "a.txt", f"file://{work}/root/")
    assert (done.returncode, "Permission denied" in done.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_broke_off_goes_on(work: Path, number: int) -> None:
    with slowly(work) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
    if number != signal.SIGKILL:
        url = f"file://{work}/root/a.txt"
        assert process.returncode == 128 + number
        assert f"To go on: cooperative-upload put --resume a.txt {url}\n" in said.decode()
    assert len(kept(work)) == 1
    done = run("put", "--resume", "a.txt", f"file://{work}/root/")
    assert done.returncode == 0, done.stderr
    assert "anew" not in done.stderr
    assert (work / "root" / "a.txt").stat().st_size == SLOW
    assert not kept(work)
    assert not left(work)


def test_all_or_nothing_leaves_nothing(work: Path) -> None:
    os.truncate(work / "a.txt", SLOW)
    url = f"file://{work}/root/"
    with subprocess.Popen(
        [*COMMAND, "put", "--all-or-nothing", "a.txt", url], stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        wait_until(lambda: is_writing(process.pid, work / "root"), SECONDS)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"To go on" not in said
    assert not left(work)
    assert not kept(work)


def is_writing(pid: int, folder: Path) -> bool:
    """Whether a process has a file below `folder` open, also one without a name."""
    with contextlib.suppress(OSError):
        return any(str(folder) in os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_what_nobody_goes_on_with_is_swept(work: Path) -> None:
    with slowly(work) as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    url = f"file://{work}/root"
    assert run("sweep", url).stdout == "0 swept.\n"
    assert left(work)
    assert run("sweep", url, "--older-than", "0s").stdout == "1 swept.\n"
    assert not left(work)
    # What it was kept for is gone: it begins anew, with another file.
    os.truncate(work / "a.txt", LARGE)
    done = run("put", "--resume", "a.txt", f"file://{work}/root/")
    assert done.returncode == 0, done.stderr
    assert "was changed since its upload began: it begins anew" in done.stderr
    assert not left(work)
    assert not kept(work)


def test_memory_does_not_grow_with_the_file(work: Path) -> None:
    os.truncate(work / "a.txt", 1_000_000_000)
    # Not getrusage(): its ru_maxrss begins with what the process had before exec(), this test's.
    program = """if True:
        import re, sys
        from cooperative_upload.server import main
        try:
            main()
        finally:
            status = open("/proc/self/status").read()
            print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, "put", "-q", "a.txt", f"file://{work}/root/"],
        capture_output=True, timeout=SECONDS * 2, check=False,
        env={**os.environ, "COOPERATIVE_UPLOAD_STORAGE_FSYNC": "0"},
    )  # fmt: skip
    shutil.rmtree(work / "root")
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 300_000  # kB; 50,000 were measured


def in_terminal(*words: str, stdout: IO[bytes] | None = None) -> str:
    """What a terminal of 100 columns shows."""
    shown = bytearray()
    main, side = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], stdout=stdout or side, stderr=side, stdin=side):
        os.close(side)
        with contextlib.suppress(OSError):
            while block := os.read(main, 65536):
                shown += block
    os.close(main)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_a_terminal_shows_a_bar_for_each_file_and_for_all(work: Path) -> None:
    (work / "b.txt").write_bytes(bytes(LARGE))
    shown = in_terminal("put", "a.txt", "b.txt", f"file://{work}/root/")
    assert re.search(r"all 2 files +━+ 9\.0/9\.0 MB", shown), shown
    assert re.search(r"b\.txt(: being stored)? +━+ 9\.0/9\.0 MB", shown), shown


def test_bars_leave_what_goes_into_a_file_alone(work: Path) -> None:
    with (work / "log").open("wb") as log:
        shown = in_terminal("put", "a.txt", f"file://{work}/root/", stdout=log)
    assert (work / "log").read_text().startswith(f"file://{work}/root/a.txt  7 bytes")
    assert "ETag" not in shown


def test_help_says_what_each_is_for() -> None:
    said = run("--help").stdout
    assert [verb for verb in ("put", "ls", "rm", "sweep") if f"\n  {verb}" not in said] == []
    assert "--all-or-nothing" in run("put", "--help").stdout


def test_help_loads_nothing_that_is_not_used() -> None:
    program = """if True:
        import sys
        import cooperative_upload.server.command_line
        heavy = {"boto3", "botocore", "rich", "swiftclient", "platformdirs", "sqlalchemy"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        import socket
        from gevent.monkey import is_module_patched
        assert not is_module_patched("socket")
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=SECONDS)


def test_without_the_extra_it_says_what_to_install() -> None:
    program = """if True:
        import sys
        sys.modules["typer"] = None
        from cooperative_upload.server import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 1
    assert b"pip install 'cooperative_upload[server]'" in done.stderr
    assert b"Traceback" not in done.stderr
