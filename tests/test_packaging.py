"""What is built and installed, what `make clean` leaves, and what the tests need."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from checkout import ROOT

# What code of the package can use.
EXTRAS = {"crc32c", "postgresql", "prometheus", "s3", "server", "swift", "uploads"}

pytestmark = pytest.mark.timeout(300)  # seconds: the build runs setuptools twice


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the checkout, those that are not committed yet too."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: it may be the source distribution itself")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def sdist(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of these files, in a directory of its own."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    return built("sdist", checkout, tmp_path_factory.mktemp("sdist"))


def built(kind: str, source: Path, into: Path) -> Path:
    """What setuptools builds, with the configuration of the source alone."""
    program = f"from setuptools import build_meta; build_meta.build_{kind}({str(into)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    (file,) = into.iterdir()
    return file


def test_the_source_distribution_is_the_whole_checkout(tracked: list[str], sdist: Path) -> None:
    """So the tests that it holds find all that they need."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(tracked) <= names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_holds_the_package_alone(sdist: Path, tmp_path: Path) -> None:
    """Built from the source distribution; its metadata speak of nothing that is not in it."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    into = tmp_path / "wheel"
    into.mkdir()
    with zipfile.ZipFile(built("wheel", source, into)) as wheel:
        names = wheel.namelist()
        (of_metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(of_metadata).decode())
    package = {name for name in names if ".dist-info/" not in name}
    package_files = (path for path in (ROOT / "cooperative_upload").rglob("*") if path.is_file())
    on_disk = {str(p.relative_to(ROOT)) for p in package_files if "__pycache__" not in p.parts}
    assert package == on_disk
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_the_installed_extras_are_those_of_the_package() -> None:
    metadata = importlib.metadata.metadata("cooperative_upload")
    assert set(metadata.get_all("Provides-Extra") or []) == EXTRAS


def test_clean_removes_what_git_ignores() -> None:
    """That is all that the targets make, and what the runs write where they are started."""
    recipe = (ROOT / "Makefile").read_text().partition("\nclean:\n")[2].partition("\n\n")[0]
    ignored = (ROOT / ".gitignore").read_text().split()
    assert ignored
    for pattern in ignored:
        assert re.search(rf"\s{re.escape(pattern.rstrip('/'))}(/|\s|$)", recipe), pattern


def test_the_readme_names_the_packages_that_the_tests_need() -> None:
    """Those that are installed on a machine that has nothing but Debian's base system."""
    lines = re.findall(r'^ *packages="(.+)"$', (ROOT / ".ci/run").read_text(), re.M)
    on_such_a_machine = {word for line in lines for word in line.split()} - {"$packages"}
    assert on_such_a_machine
    commands = re.findall(r"^sudo apt install ([^#\n]+)", (ROOT / "README.md").read_text(), re.M)
    named = {package for command in commands for package in command.split()}
    assert named == on_such_a_machine - {"ca-certificates"}  # for git's clone
