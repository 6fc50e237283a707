"""What goes wrong between SwiftStorage and Swift: tried again, or told, and nothing is left."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gevent
import pytest
from breaking_proxy import BreakingProxy, Fault
from greenlets import DEADLINE, in_greenlet
from spools import content
from swift_server import Swift

from cooperative_upload.errors import (
    AlreadyStored,
    NotStored,
    SettingsError,
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
    StoredDiffers,
)
from cooperative_upload.settings import UploadSettings
from cooperative_upload.storage import storage_for
from cooperative_upload.storage.swift import SwiftStorage
from cooperative_upload.storage.swift_access import login_from

PART = 100_000
DATA = content(2 * PART + 1000)


class Broken:
    """A container, a storage in it by way of a proxy, and one that goes straight there."""

    def __init__(self, swift: Swift, proxy: BreakingProxy, cloud: str, **settings: Any) -> None:
        self.swift = swift
        self.proxy = proxy
        self.container = secrets.token_hex(8)
        assert swift.ask("PUT", f"/{self.container}")[0] == 201
        self.straight = SwiftStorage(
            login_from(swift.variables), self.container, segment_bytes=PART
        )
        kept = UploadSettings(**{"storage_retry_seconds": 20.0, **settings})
        self.storage = SwiftStorage(
            login_from({}, cloud), self.container, segment_bytes=PART, settings=kept
        )

    @property
    def segments(self) -> str:
        return f"{self.container}_segments"

    def content(self, key: str) -> bytes:
        with self.straight.open(key) as stored:
            return stored.read()

    def check_nothing_is_left(self) -> None:
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(DEADLINE):
            while self.swift.names(self.segments):
                gevent.sleep(0.01)
        assert self.swift.names(self.segments) == []
        assert self.swift.names(self.container) == []


@pytest.fixture
def cloud(swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of clouds.yaml whose account is behind the proxy."""
    (tmp_path / "clouds.yaml").write_text(f"""
        clouds:
          loopback:
            auth_type: v1password
            auth: {{auth_url: "{swift.auth_url}", username: "test:tester", password: testing}}
            object_store_endpoint_override: "http://127.0.0.1:PORT/v1/AUTH_test"
    """)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    return "loopback"


@pytest.fixture
def proxy(swift: Swift, cloud: str, tmp_path: Path) -> Iterator[BreakingProxy]:
    with BreakingProxy(f"http://127.0.0.1:{swift.port}") as proxy:
        path = tmp_path / "clouds.yaml"
        path.write_text(path.read_text().replace("http://127.0.0.1:PORT", proxy.url))
        yield proxy


@pytest.fixture
def broken(swift: Swift, proxy: BreakingProxy, cloud: str) -> Broken:
    return Broken(swift, proxy, cloud)


@pytest.fixture
def impatient(swift: Swift, proxy: BreakingProxy, cloud: str) -> Broken:
    """Tries nothing for long."""
    return Broken(swift, proxy, cloud, storage_retry_seconds=0.3)


def deposit(storage: SwiftStorage, data: bytes, **more: Any) -> Any:
    with storage.deposit("key") as made:
        made.write(data)
        return made.commit(**more)


def first(times: int, fault: Fault, wanted: Callable[[str, str], bool]) -> Any:
    """The first requests of a kind fail so."""
    met: list[str] = []

    def choose(method: str, target: str) -> Fault | None:
        if not wanted(method, target) or len(met) >= times:
            return None
        met.append(target)
        return fault

    return choose


def always(fault: Fault, wanted: Callable[[str, str], bool]) -> Any:
    """All requests of a kind fail so."""
    return lambda method, target: fault if wanted(method, target) else None


def answer(status: int, text: str = "<html>Some words.", **headers: str) -> Fault:
    return Fault(answer=(status, text.encode(), headers))


def manifest_answer(status: int, inner: str, errors: str = "[]") -> Fault:
    body = f'  \r\n\r\n{{"Response Status": "{inner}", "Response Body": "", "Errors": {errors}}}'
    return Fault(answer=(status, body.encode(), {"Content-Type": "application/json"}))


def is_segment(method: str, target: str) -> bool:
    return method == "PUT" and "/.uploads/" in target


def is_manifest(method: str, target: str) -> bool:
    return method == "PUT" and "multipart-manifest" in target


def is_whole(method: str, target: str) -> bool:
    return method == "PUT" and target.endswith("/key")


def is_get(method: str, target: str) -> bool:
    return method == "GET" and target.endswith("/key")


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (is_segment, answer(503)),
        (is_segment, answer(498)),
        (is_segment, answer(429, **{"Retry-After": "0"})),
        (is_segment, Fault(reset_after=100)),
        (is_segment, Fault(swallow=True)),
        (is_segment, Fault(damage=True)),
        (is_manifest, answer(500)),
        (is_manifest, manifest_answer(202, "503 Service Unavailable")),
        (is_manifest, Fault(swallow=True)),
        (is_manifest, Fault(half_answer=0)),
    ],
)
def test_what_passes_is_not_seen(
    broken: Broken, fault: Fault, wanted: Callable[[str, str], bool]
) -> None:
    """A segment, or the manifest, fails twice, and once Swift had done it all the same."""
    with broken.proxy.breaking(first(2, fault, wanted)):
        stored = in_greenlet(lambda: deposit(broken.storage, DATA))
    assert stored.size == len(DATA)
    assert broken.content("key") == DATA
    broken.straight.delete("key")
    broken.check_nothing_is_left()


@pytest.mark.parametrize("fault", [answer(503), Fault(swallow=True)])
def test_a_small_object(broken: Broken, fault: Fault) -> None:
    """Made by a try whose answer was lost, it is taken for what it is, and another's is not."""
    with broken.proxy.breaking(first(1, fault, is_whole)):
        in_greenlet(lambda: deposit(broken.storage, b"small"))
    with broken.proxy.breaking(first(1, fault, is_whole)), pytest.raises(AlreadyStored):
        in_greenlet(lambda: deposit(broken.storage, b"small"))
    assert broken.content("key") == b"small"


@pytest.mark.parametrize("data", [b"small", DATA], ids=["small", "segments"])
def test_a_store_that_stays_throttled_is_a_503(impatient: Broken, data: bytes) -> None:
    throttled = always(answer(498), lambda method, target: method == "PUT" and "key" in target)
    segments = always(answer(498), is_segment)
    with (
        impatient.proxy.breaking(throttled if data == b"small" else segments),
        pytest.raises(StorageUnavailable) as caught,
    ):
        in_greenlet(lambda: deposit(impatient.storage, data))
    response = caught.value.get_response()
    assert response.status_code == 503
    assert "498" in str(caught.value)
    assert "498" not in response.get_data(as_text=True)
    impatient.check_nothing_is_left()


@pytest.mark.parametrize(
    ("fault", "expected", "http"),
    [
        (answer(403, "Forbidden"), StorageRefused, 500),
        (answer(400, "X-Delete-At in past"), StorageRefused, 500),
        (answer(413, "Upload exceeds quota."), StorageFull, 507),
        (answer(507, "no room"), StorageFull, 507),
        (answer(301, "elsewhere"), StorageRefused, 500),
    ],
)
@pytest.mark.parametrize("wanted", [is_segment, is_manifest])
def test_what_does_not_pass_is_told_at_once(
    broken: Broken,
    wanted: Callable[[str, str], bool],
    fault: Fault,
    expected: type[StorageError],
    http: int,
) -> None:
    assert fault.answer is not None
    with broken.proxy.breaking(always(fault, wanted)), pytest.raises(expected) as caught:
        in_greenlet(lambda: deposit(broken.storage, DATA))
    assert caught.value.code == http
    assert fault.answer[1].decode() in str(caught.value)
    broken.check_nothing_is_left()


def test_a_manifest_that_fails_in_its_body(broken: Broken) -> None:
    """With which the answer had begun before Swift looked at the segments."""
    fault = manifest_answer(202, "400 Bad Request", '[["/c/segment", "Etag Mismatch"]]')
    with (
        broken.proxy.breaking(always(fault, is_manifest)),
        pytest.raises(StorageRefused, match="/c/segment: Etag Mismatch"),
    ):
        in_greenlet(lambda: deposit(broken.storage, DATA))
    broken.check_nothing_is_left()


def test_a_real_quota(broken: Broken) -> None:
    headers = {"X-Container-Meta-Quota-Bytes": "10"}
    assert broken.swift.ask("POST", f"/{broken.container}", headers)[0] == 204
    deposit(broken.straight, b"0123456789")
    with pytest.raises(StorageFull, match="quota"):
        deposit(broken.straight, b"0123456789x", overwrite=True)
    assert broken.content("key") == b"0123456789"


def test_what_is_damaged_for_good_is_found(impatient: Broken) -> None:
    damage = always(Fault(damage=True), lambda method, target: is_segment(method, target))
    with impatient.proxy.breaking(damage), pytest.raises(StoredDiffers):
        in_greenlet(lambda: deposit(impatient.storage, DATA))
    impatient.check_nothing_is_left()


@pytest.mark.parametrize("data", [b"small", DATA], ids=["small", "segments"])
def test_a_container_that_is_not_there(swift: Swift, data: bytes) -> None:
    storage = SwiftStorage(login_from(swift.variables), "missing", segment_bytes=PART)
    for ask in (
        lambda: deposit(storage, data),
        lambda: storage.begin("key"),
        lambda: storage.stat("key"),
        lambda: list(storage.list()),
    ):
        with pytest.raises(StorageRefused, match="404"):
            ask()
    assert not swift.names("missing_segments")


def test_a_user_without_rights(broken: Broken) -> None:
    variables = {**broken.swift.variables, "ST_USER": "test:reader", "ST_KEY": "reading"}
    storage = SwiftStorage(login_from(variables), broken.container)
    with pytest.raises(StorageRefused, match="403"):
        deposit(storage, b"small")


def test_wrong_credentials(broken: Broken) -> None:
    storage = SwiftStorage(
        login_from({**broken.swift.variables, "ST_KEY": "wrong"}), broken.container
    )
    with pytest.raises(StorageRefused, match="no token"):
        deposit(storage, b"small")


def test_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    with pytest.raises(SettingsError, match="Swift needs credentials"):
        login_from({})


def test_nobody_who_gives_tokens(broken: Broken) -> None:
    variables = {**broken.swift.variables, "ST_AUTH": "http://127.0.0.1:1/auth/v1.0"}
    settings = UploadSettings(storage_retry_seconds=0.3)
    storage = SwiftStorage(login_from(variables), broken.container, settings=settings)
    with pytest.raises(StorageUnavailable, match="no token"):
        deposit(storage, b"small")


def test_the_environment_of_the_command_line(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """swift://container/prefix, with the variables that its users have."""
    for name, value in broken.swift.variables.items():
        monkeypatch.setenv(name, value)
    storage = storage_for(f"swift://{broken.container}/some/prefix")
    deposit(storage, b"small")  # type: ignore[arg-type]
    assert broken.swift.names(broken.container) == ["some/prefix/key"]
    assert [stored.key for stored in storage.list()] == ["key"]


@pytest.mark.parametrize("url", ["swift://", "swift:///prefix", "swift://c/p?a=b", "swift://c#d"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(SettingsError, match="swift://container/prefix"):
        storage_for(url)


def test_a_token_that_has_expired_is_fetched_once_for_all(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads that come with it at the same time, and all are stored."""
    deposit(broken.storage, b"first")
    (own,) = broken.storage._client._connections._owned.values()
    session = own.access._session
    session.auth.auth_ref.auth_token = "AUTH_tkexpired"
    fetched: list[str] = []
    fetch = session.auth.get_auth_ref

    def counted(session: Any) -> Any:
        fetched.append("a token")
        return fetch(session)

    monkeypatch.setattr(session.auth, "get_auth_ref", counted)

    def uploads() -> None:
        put = [gevent.spawn(_put, broken.storage, f"a-{number}") for number in range(4)]
        gevent.joinall(put, timeout=DEADLINE, raise_error=True)

    in_greenlet(uploads)
    assert [broken.content(f"a-{number}") for number in range(4)] == [b"content"] * 4
    assert len(fetched) == 1


def _put(storage: SwiftStorage, key: str) -> None:
    with storage.deposit(key) as made:
        made.write(b"content")
        made.commit()


@pytest.mark.parametrize("after", [90_000, 10])
def test_a_download_that_breaks_goes_on_from_where_it_broke(broken: Broken, after: int) -> None:
    deposit(broken.straight, DATA)
    faults = first(2, Fault(half_answer=after), is_get)
    with broken.proxy.breaking(faults), broken.storage.open("key", 1000) as stored:
        assert in_greenlet(stored.read) == DATA[1000:]
    assert len([request for request in broken.proxy.seen if is_get(*request)]) == 3


def test_a_download_of_another_version_is_never_joined(broken: Broken) -> None:
    deposit(broken.straight, DATA)
    fault = first(1, Fault(half_answer=150_000), is_get)
    with broken.proxy.breaking(fault), broken.storage.open("key") as stored:
        start = stored.read(50_000)
        assert start == DATA[:50_000]
        deposit(broken.straight, bytes(len(DATA)), overwrite=True)
        with pytest.raises(StorageError, match="replaced"):
            stored.read()


def test_a_writer_that_is_cut_goes_on_by_what_is_durable(impatient: Broken) -> None:
    storage = impatient.storage
    token = storage.begin("key", size=len(DATA))
    second = always(Fault(reset_after=3000), lambda m, t: is_segment(m, t) and "100000-" in t)
    with (
        impatient.proxy.breaking(second),
        storage.writer(token, 0) as writer,
        pytest.raises(StorageUnavailable),
    ):
        in_greenlet(lambda: (writer.write(DATA), writer.finish()))
    for start, stop in storage.durable(token).missing(len(DATA)):
        with storage.writer(token, start) as writer:
            writer.write(DATA[start:stop])
            writer.finish()
    storage.commit(token, len(DATA))
    assert impatient.content("key") == DATA


def test_segments_expire_until_they_are_an_object_s(broken: Broken) -> None:
    storage = broken.straight
    token = storage.begin("key", size=len(DATA))
    with storage.writer(token, 0) as writer:
        writer.write(DATA)
        writer.finish()
    with storage.writer(token, 5) as writer:
        writer.write(DATA[5:50])
        writer.finish()
    assert {_expires(broken, name) for name in _segments(broken)} == {str(token["expires"])}
    storage.commit(token, len(DATA))
    assert len(_segments(broken)) == 3
    assert {_expires(broken, name) for name in _segments(broken)} == {None}


def test_a_writing_ends_before_its_segments_expire(broken: Broken) -> None:
    storage = broken.straight
    token = {**storage.begin("key", size=5), "expires": 0}
    for go_on in (
        lambda: storage.writer(token, 0),
        lambda: storage.durable(token),
        lambda: storage.commit(token, 5),
    ):
        with pytest.raises(NotStored):
            go_on()
    storage.abort(token)
    broken.check_nothing_is_left()


def test_a_large_object_of_somebody_else_goes_with_its_segments(broken: Broken) -> None:
    swift = broken.swift
    assert swift.ask("PUT", f"/{broken.segments}")[0] == 201
    assert swift.ask("PUT", f"/{broken.segments}/theirs", {}, b"12345")[0] == 201
    manifest = f'[{{"path": "/{broken.segments}/theirs"}}]'.encode()
    path = f"/{broken.container}/key?multipart-manifest=put"
    assert swift.ask("PUT", path, {}, manifest)[0] == 201
    assert broken.content("key") == b"12345"
    broken.straight.delete("key")
    broken.check_nothing_is_left()


def test_more_segments_than_a_manifest_takes(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested manifests, and all of it goes with the object."""
    monkeypatch.setattr("cooperative_upload.storage.swift_writings.MOST_ENTRIES", 3)
    storage = SwiftStorage(login_from(broken.swift.variables), broken.container, segment_bytes=100)
    data = content(1050)
    token = storage.begin("key", size=len(data))
    with storage.writer(token, 0) as writer:
        writer.write(data)
        writer.finish()
    storage.commit(token, len(data))
    assert broken.content("key") == data
    assert len(_segments(broken)) == 11 + 4 + 2
    storage.delete("key")
    broken.check_nothing_is_left()


def test_temporary_urls(broken: Broken) -> None:
    """For one object and one method, with the account's key; also with a name that is quoted."""
    key = "a b/ü?"
    put, get = (broken.straight.sign(key, method) for method in ("PUT", "GET"))
    assert _ask("PUT", put, b"content") == (201, b"")
    assert _ask("GET", get) == (200, b"content")
    assert _ask("PUT", get, b"other")[0] == 401
    assert _ask("GET", get.replace(quote("ü"), "u"))[0] == 401
    assert _ask("GET", broken.straight.sign(key, seconds=-1))[0] == 401


def _segments(broken: Broken) -> list[str]:
    return [name for name in broken.swift.names(broken.segments) if "/.uploads/" in f"/{name}"]


def _expires(broken: Broken, name: str) -> str | None:
    return broken.swift.headers(f"/{broken.segments}/{name}").get("X-Delete-At")


def _ask(method: str, url: str, body: bytes = b"") -> tuple[int, bytes]:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, body or None, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
