"""What every storage does. Inherit the classes as Test..., with the fixture `place`.

A Place says how a new Storage object is made, which is all that a new process has beside a token,
and what the sizes are at which the storage takes another path. `run` runs a test in a greenlet,
where others go on meanwhile, or without a hub.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import pytest
from crashes import Tell, crash_at
from greenlets import DEADLINE, hub_scheduler, hub_writer, in_greenlet, spinning
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperative_upload.errors import (
    AlreadyStored,
    NotStored,
    StoredDiffers,
    UnsafePath,
)
from cooperative_upload.storage import Description, Ranges, Storage, Stored

GENERATED = settings(
    deadline=None,
    max_examples=10,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)

NOW = datetime.timedelta(0)

Run = Callable[[Callable[[], Any]], Any]


class Place:
    """Where the objects of a test are: empty, and its alone.

    part_size: bytes of the storage's parts, or whatever it collects; the tests write a few.
    primitives: dotted names of the functions through which it changes anything; a process is
        killed before each of their calls.
    can_sign: whether sign() gives a URL.
    checks_digests: those of a whole, by their names in RFC 9530, of which a wrong one is found.
    """

    part_size = 4096
    primitives: Sequence[str] = ()
    can_sign = False
    checks_digests: Sequence[str] = ()

    def storage(self) -> Storage:
        """A new object from scratch, as in a new process."""
        raise NotImplementedError

    def remains(self) -> list[str]:
        """What there is beside objects: uploads that were begun, segments, hidden files."""
        raise NotImplementedError


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that tell their places."""
    numbers = range(seed, seed + size // 8 + 1)
    return b"".join(number.to_bytes(8, "big") for number in numbers)[:size]


def content_of(storage: Storage, key: str, start: int = 0, stop: int | None = None) -> bytes:
    with storage.open(key, start, stop) as content:
        data = content.read()
        assert len(data) == content.size
        assert content.read(1) == b""
    return data


def is_there(storage: Storage, key: str) -> bool:
    try:
        storage.stat(key)
    except NotStored:
        return False
    return True


def put(storage: Storage, key: str, data: bytes, **more: Any) -> Stored:
    with storage.deposit(key) as deposit:
        deposit.write(data)
        return deposit.commit(**more)


def write(storage: Storage, token: Any, offset: int, *blocks: bytes) -> Ranges:
    with storage.writer(token, offset) as writer:
        for block in blocks:
            writer.write(block)
        return writer.finish()


def again(token: Any) -> Any:
    """A token out of the database."""
    return json.loads(json.dumps(token))


def aborted_leftovers(storage: Storage) -> None:
    for token in list(storage.leftovers(NOW)):
        storage.abort(again(token))


class _Contract:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    @pytest.fixture
    def storage(self, place: Place) -> Storage:
        return place.storage()

    @pytest.fixture(params=["greenlet", "no hub"])
    def run(self, request: pytest.FixtureRequest) -> Iterator[Run]:
        if request.param == "no hub":
            yield lambda function: function()
        else:
            with hub_scheduler(), hub_writer():
                yield in_greenlet


class DepositContract(_Contract):
    """deposit()."""

    @pytest.mark.parametrize("parts", [0, 1, 2.5])
    def test_it_appears_whole_at_the_commit(
        self, place: Place, storage: Storage, run: Run, parts: float
    ) -> None:
        data = text(int(parts * place.part_size))

        def test() -> None:
            with storage.deposit("folder/name", size=len(data)) as deposit:
                for start in range(0, len(data), 1000):
                    deposit.write(data[start : start + 1000])
                assert not is_there(storage, "folder/name")
                stored = deposit.commit()
                assert deposit.commit() == stored
            assert (stored.key, stored.size) == ("folder/name", len(data))
            assert storage.stat("folder/name").etag == stored.etag
            assert content_of(place.storage(), "folder/name") == data

        run(test)
        assert place.remains() == []

    @pytest.mark.parametrize("parts", [0.1, 3])
    def test_nothing_is_committed_without_a_commit(
        self, place: Place, storage: Storage, run: Run, parts: float
    ) -> None:
        """By the end of its block, by close(), by an error, by the garbage collector."""
        data = text(int(parts * place.part_size))

        def test() -> None:
            with storage.deposit("left") as deposit:
                deposit.write(data)
            closed = storage.deposit("closed")
            closed.write(data)
            closed.close()
            closed.close()
            with pytest.raises(ValueError, match="closed"):
                closed.commit()
            with pytest.raises(ValueError, match="closed"):
                closed.write(b"x")
            with contextlib.suppress(ZeroDivisionError), storage.deposit("failed") as deposit:
                deposit.write(data)
                raise ZeroDivisionError
            forgotten = storage.deposit("forgotten")
            forgotten.write(data)
            del forgotten
            assert list(storage.list()) == []

        run(test)
        self.wait_until_nothing_remains(place)

    def test_one_that_is_there_is_kept_unless_asked(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        """A refused deposit stays refused, and leaves nothing."""
        old, new = text(2 * place.part_size), text(3 * place.part_size, seed=9)

        def test() -> None:
            first = put(storage, "name", old)
            with storage.deposit("name") as deposit:
                deposit.write(new)
                for _ in range(2):
                    with pytest.raises(AlreadyStored):
                        deposit.commit()
            assert content_of(storage, "name") == old
            second = put(storage, "name", new, overwrite=True)
            assert content_of(storage, "name") == new
            assert second.etag != first.etag

        run(test)
        self.wait_until_nothing_remains(place)

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_size_than_announced(
        self, place: Place, storage: Storage, run: Run, difference: int
    ) -> None:
        size = place.part_size * 2

        def test() -> None:
            with storage.deposit("name", size=size) as deposit:
                deposit.write(text(size + difference))
                with pytest.raises(ValueError, match=f"{size:,}"):
                    deposit.commit()
            assert not is_there(storage, "name")

        run(test)
        self.wait_until_nothing_remains(place)

    @pytest.mark.parametrize("parts", [0.1, 3])
    def test_digests(self, place: Place, storage: Storage, run: Run, parts: float) -> None:
        """Right ones are taken; of wrong ones the storage finds those that it says."""
        data = text(int(parts * place.part_size))
        right = {"md5": hashlib.md5(data).digest(), "sha-256": hashlib.sha256(data).digest()}

        def test() -> None:
            stored = put(storage, "right", data, digests=right)
            for name, digest in stored.digests.items():
                assert right.get(name, digest) == digest
            for name in place.checks_digests:
                with pytest.raises(StoredDiffers):
                    put(storage, "wrong", data, digests={name: bytes(len(right[name]))})
                assert not is_there(storage, "wrong")

        run(test)
        self.wait_until_nothing_remains(place)

    def test_description(self, storage: Storage, run: Run) -> None:
        plain = Description("image/png", {"name": "Maß 日本 %20 +", "a-1": "two  words"})

        def test() -> None:
            with storage.deposit("name", description=plain) as deposit:
                deposit.write(b"x")
                deposit.commit()
            found = storage.stat("name")
            assert found.content_type == plain.content_type
            assert found.metadata == plain.metadata
            put(storage, "name", b"new", overwrite=True)
            assert storage.stat("name").metadata == {}

        run(test)

    def test_others_run_meanwhile(self, place: Place, storage: Storage) -> None:
        """No call that waits holds the loop."""

        def test() -> None:
            with spinning() as rounds:
                for step in self.steps(storage, text(2 * place.part_size)):
                    before = rounds.value
                    step()
                    assert rounds.value > before, step

        with hub_scheduler(deadline_seconds=0.001), hub_writer():
            in_greenlet(test)

    def steps(self, storage: Storage, data: bytes) -> list[Callable[[], object]]:
        """Calls each of which waits for the storage."""
        token: Any = None
        deposit: Any = None

        def begin() -> None:
            nonlocal token
            token = storage.begin("written", size=len(data))

        def commit_deposit() -> None:
            nonlocal deposit
            deposit = storage.deposit("deposited")
            deposit.write(data)
            deposit.commit()

        return [
            commit_deposit,
            begin,
            lambda: write(storage, token, 0, data),
            lambda: storage.durable(token),
            lambda: storage.commit(token, len(data)),
            lambda: storage.abort(token),
            lambda: content_of(storage, "written"),
            lambda: storage.stat("written"),
            lambda: list(storage.list()),
            lambda: list(storage.leftovers(NOW)),
            lambda: storage.delete("written"),
        ]

    def wait_until_nothing_remains(self, place: Place) -> None:
        """What is dropped without waiting is gone a moment later."""
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(DEADLINE):
            while place.remains():
                gevent.sleep(0.01)
        assert place.remains() == []


class WritingContract(_Contract):
    """begin(), writer(), durable(), commit(), abort()."""

    def test_a_new_process_with_the_token_alone(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        """After each step a new Storage object goes on."""
        size = 3 * place.part_size
        data = text(size)
        half = size // 2

        def test() -> None:
            description = Description("image/png", {"name": "Ü"})
            token = again(storage.begin("a/b", size=size, description=description))
            assert place.storage().durable(token) == Ranges()
            assert write(place.storage(), token, half, data[half:]) == Ranges(((half, size),))
            assert place.storage().durable(token) == Ranges(((half, size),))
            assert write(place.storage(), token, 0, data[:half]) == Ranges(((0, half),))
            assert place.storage().durable(token) == Ranges(((0, size),))
            assert not is_there(storage, "a/b")
            assert list(storage.list()) == []
            stored = place.storage().commit(token, size)
            assert place.storage().commit(token, size) == stored
            assert content_of(storage, "a/b") == data
            found = storage.stat("a/b")
            assert (found.size, found.etag) == (size, stored.etag)
            assert (found.content_type, found.metadata) == ("image/png", {"name": "Ü"})

        run(test)
        assert place.remains() == []

    @pytest.mark.parametrize("sized", [True, False])
    @pytest.mark.parametrize("size", [0, 1])
    def test_hardly_anything(
        self, place: Place, storage: Storage, run: Run, size: int, sized: bool
    ) -> None:
        data = text(8)[-size:] if size else b""

        def test() -> None:
            token = again(storage.begin("name", size=size if sized else None))
            assert write(storage, token, 0, data) == Ranges.of([(0, size)])
            storage.commit(token, size)
            assert content_of(storage, "name") == data

        run(test)
        assert place.remains() == []

    def test_never_written_to(self, place: Place, storage: Storage, run: Run) -> None:
        def test() -> None:
            storage.commit(storage.begin("name", size=0), 0)
            assert content_of(storage, "name") == b""

        run(test)
        assert place.remains() == []

    @GENERATED
    @given(
        cuts=st.lists(st.floats(0, 1, exclude_max=True), max_size=6),
        order=st.randoms(use_true_random=False),
        overlap=st.integers(0, 40),
        sized=st.booleans(),
    )
    def test_any_pieces_in_any_order(
        self, place: Place, cuts: list[float], order: Any, overlap: int, sized: bool
    ) -> None:
        """Also overlapping, also each one twice."""
        size = 5 * place.part_size // 2
        data = text(size)
        places = sorted({0, size, *(int(cut * size) for cut in cuts)})
        pieces = [(max(0, start - overlap), stop) for start, stop in itertools.pairwise(places)]
        pieces += pieces[:2]
        order.shuffle(pieces)
        storage = place.storage()
        token = again(storage.begin("name", size=size if sized else None))
        expected = Ranges()
        for start, stop in pieces:
            told = write(storage, token, start, data[start:stop])
            assert told == Ranges.of([(start, stop)])
            expected |= told
            assert storage.durable(token) == expected
        storage.commit(token, size, overwrite=True)
        assert content_of(storage, "name") == data
        assert place.remains() == []

    def test_several_at_once(self, place: Place) -> None:
        """Writers of one writing, from several Storage objects."""
        step = place.part_size + 7
        data = text(5 * step)

        def test() -> None:
            token = again(place.storage().begin("name", size=len(data)))

            def upload(start: int) -> None:
                blocks = [data[at : at + 500] for at in range(start, start + step, 500)]
                blocks[-1] = blocks[-1][: step - 500 * (len(blocks) - 1)]
                write(place.storage(), token, start, *blocks)

            greenlets = [gevent.spawn(upload, at) for at in range(0, len(data), step)]
            gevent.joinall(greenlets, timeout=DEADLINE, raise_error=True)
            place.storage().commit(token, len(data))
            assert content_of(place.storage(), "name") == data

        with hub_scheduler(), hub_writer():
            in_greenlet(test)
        assert place.remains() == []

    def test_gaps_are_refused_at_the_commit(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        """It goes on afterwards."""
        size = 3 * place.part_size
        data = text(size)

        def test() -> None:
            token = again(storage.begin("name", size=size))
            write(storage, token, 1, data[1:])
            with pytest.raises(ValueError, match=f"{size:,}"):
                storage.commit(token, size)
            assert not is_there(storage, "name")
            write(storage, token, 0, data[:1])
            with pytest.raises(ValueError, match=f"{size + 1:,}"):
                storage.commit(token, size + 1)
            storage.commit(token, size)
            assert content_of(storage, "name") == data

        run(test)
        assert place.remains() == []

    def test_what_was_not_finished_is_not_told(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        """What had become durable on the way may be, and is right then."""
        data = text(3 * place.part_size + 5)

        def test() -> None:
            token = again(storage.begin("name", size=len(data)))
            with storage.writer(token, 0) as writer:
                writer.write(data)
            with pytest.raises(ValueError, match="closed"):
                writer.write(b"x")
            durable = place.storage().durable(token)
            assert durable.cover(0, len(data)) or durable.total < len(data)
            for start, stop in durable.missing(len(data)):
                write(place.storage(), token, start, data[start:stop])
            storage.commit(token, len(data))
            assert content_of(storage, "name") == data

        run(test)
        assert place.remains() == []

    def test_finish_may_be_called_on_the_way_and_again(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        data = text(2 * place.part_size + 3)

        def test() -> None:
            token = again(storage.begin("name", size=len(data)))
            with storage.writer(token, 0) as writer:
                writer.write(data[:10])
                assert writer.finish() == writer.finish() == Ranges(((0, 10),))
                assert storage.durable(token) == Ranges(((0, 10),))
                writer.write(data[10:])
                assert writer.finish() == Ranges(((0, len(data)),))
            storage.commit(token, len(data))
            assert content_of(storage, "name") == data

        run(test)
        assert place.remains() == []

    def test_abort(self, place: Place, storage: Storage, run: Run) -> None:
        """Leaves nothing, also with a writer at work; again is harmless; nothing goes on."""
        data = text(2 * place.part_size)

        def test() -> None:
            token = again(storage.begin("name", size=len(data)))
            write(storage, token, 0, data)
            writer = storage.writer(token, 0)
            writer.write(data[:10])
            for _ in range(2):
                place.storage().abort(token)
            with pytest.raises(NotStored):
                writer.finish()
            writer.close()
            with pytest.raises(NotStored):
                storage.durable(token)
            with pytest.raises(NotStored):
                write(storage, token, 0, data)
            with pytest.raises(NotStored):
                storage.commit(token, len(data))
            assert list(storage.leftovers(NOW)) == []
            assert list(storage.list()) == []

        run(test)
        assert place.remains() == []

    def test_after_a_commit(self, place: Place, storage: Storage, run: Run) -> None:
        """Abort leaves the object alone; nothing is written any more."""

        def test() -> None:
            token = again(storage.begin("name", size=5))
            write(storage, token, 0, b"12345")
            late = storage.writer(token, 0)
            late.write(b"late!")
            storage.commit(token, 5)
            storage.abort(token)
            with pytest.raises(NotStored):
                late.finish()
            late.close()
            with pytest.raises(NotStored):
                write(storage, token, 0, b"other")
            assert content_of(storage, "name") == b"12345"
            put(storage, "name", b"newer", overwrite=True)
            with pytest.raises((NotStored, AlreadyStored)):
                storage.commit(token, 5)
            assert content_of(storage, "name") == b"newer"
            storage.delete("name")
            with pytest.raises(NotStored):
                storage.commit(token, 5)

        run(test)
        assert place.remains() == []

    def test_one_that_is_there_is_kept_unless_asked(
        self, place: Place, storage: Storage, run: Run
    ) -> None:
        """A refused commit can be made once more with overwrite=True, or aborted."""

        def test() -> None:
            put(storage, "name", b"old")
            token = again(storage.begin("name", size=3))
            write(storage, token, 0, b"new")
            for _ in range(2):
                with pytest.raises(AlreadyStored):
                    storage.commit(token, 3)
            assert content_of(storage, "name") == b"old"
            stored = storage.commit(token, 3, overwrite=True)
            assert storage.commit(token, 3, overwrite=True) == stored
            assert content_of(storage, "name") == b"new"

        run(test)
        assert place.remains() == []

    def test_two_writings_of_one_key(self, place: Place, storage: Storage, run: Run) -> None:
        def test() -> None:
            tokens = [again(storage.begin("name", size=1)) for _ in range(2)]
            for number, token in enumerate(tokens):
                write(storage, token, 0, b"%d" % number)
            storage.commit(tokens[1], 1)
            with pytest.raises(AlreadyStored):
                storage.commit(tokens[0], 1)
            storage.abort(tokens[0])
            assert content_of(storage, "name") == b"1"

        run(test)
        assert place.remains() == []

    def test_leftovers(self, place: Place, storage: Storage, run: Run) -> None:
        """Those that nobody goes on with, as tokens that abort() takes."""

        def test() -> None:
            token = again(storage.begin("name", size=place.part_size))
            write(storage, token, 0, text(place.part_size))
            assert list(storage.leftovers(datetime.timedelta(days=1))) == []
            found = list(storage.leftovers(NOW))
            assert len(found) == 1
            storage.abort(again(found[0]))
            with pytest.raises(NotStored):
                storage.durable(token)
            assert list(storage.leftovers(NOW)) == []

        run(test)
        assert place.remains() == []


class CrashContract(_Contract):
    """A process that is killed at any step."""

    def scenario(self, place: Place, overwrite: bool) -> tuple[bytes, Callable[[Tell], None]]:
        size = place.part_size * 2 + 3
        data = text(size, seed=5)
        half = place.part_size + 1

        def work(tell: Tell) -> None:
            storage = place.storage()
            token = storage.begin("a/name", size=size, description=Description("text/plain"))
            tell(token)
            tell(list(write(storage, token, 0, data[:half])))
            tell(list(write(storage, token, half, data[half:])))
            storage.commit(token, size, overwrite=overwrite)
            tell("committed")

        return data, work

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("then", ["go on", "abort"])
    def test_a_writing(self, place: Place, then: str, overwrite: bool) -> None:
        """With its token alone a new process goes on, or aborts; nothing is left."""
        data, work = self.scenario(place, overwrite)
        old = b"old" if overwrite else None
        for number in range(1000):
            storage = place.storage()
            storage.delete("a/name")
            if old is not None:
                put(storage, "a/name", old)
            crashed = crash_at(number, place.primitives, work)
            if not crashed.told:
                aborted_leftovers(storage)
                assert is_there(storage, "a/name") == overwrite
            else:
                token = crashed.told[0]
                self.check_told(storage, token, crashed.told)
                if then == "go on":
                    self.go_on(storage, token, data, overwrite)
                    assert storage.stat("a/name").content_type == "text/plain"
                else:
                    for _ in range(2):
                        storage.abort(token)
                found = content_of(storage, "a/name") if is_there(storage, "a/name") else None
                allowed = [data] if then == "go on" or "committed" in crashed.told else [old, data]
                assert found in allowed
                aborted_leftovers(storage)  # of what was on its way besides
            assert place.remains() == [], number
            if crashed.ended:
                break
        assert number > 3, "no primitive was called"

    def check_told(self, storage: Storage, token: Any, told: list[Any]) -> None:
        ranges = [pair for pairs in told[1:3] if isinstance(pairs, list) for pair in pairs]
        with contextlib.suppress(NotStored):  # the commit was made
            durable = storage.durable(token)
            for start, stop in ranges:
                assert durable.cover(start, stop)

    def go_on(self, storage: Storage, token: Any, data: bytes, overwrite: bool) -> None:
        with contextlib.suppress(NotStored):
            for start, stop in storage.durable(token).missing(len(data)):
                write(storage, token, start, data[start:stop])
        stored = storage.commit(token, len(data), overwrite=overwrite)
        assert storage.commit(token, len(data), overwrite=overwrite) == stored
        assert content_of(storage, "a/name") == data

    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("parts", [0.01, 2.2])
    def test_a_deposit(self, place: Place, overwrite: bool, parts: float) -> None:
        """The object is there whole or not at all, and nothing else is."""
        data = text(int(place.part_size * parts))

        def work(tell: Tell) -> None:
            put(place.storage(), "a/name", data, overwrite=overwrite)
            tell("committed")

        for number in range(1000):
            storage = place.storage()
            storage.delete("a/name")
            if overwrite:
                put(storage, "a/name", b"old")
            crashed = crash_at(number, place.primitives, work)
            found = content_of(storage, "a/name") if is_there(storage, "a/name") else None
            assert found in ([data] if crashed.told else [b"old" if overwrite else None, data])
            aborted_leftovers(storage)
            assert place.remains() == [], number
            if crashed.ended:
                break
        assert number > 0, "no primitive was called"


class ObjectContract(_Contract):
    """open(), stat(), delete(), list(), sign(), and the keys."""

    def test_ranges(self, storage: Storage, run: Run) -> None:
        data = text(1000)

        def test() -> None:
            put(storage, "name", data)
            for start, stop in [
                (0, None),
                (0, 0),
                (5, 5),
                (1, 999),
                (999, 1000),
                (990, 2000),
                (1000, None),
                (1000, 1001),
                (5000, None),
                (5000, 6000),
                (7, 3),
            ]:
                assert content_of(storage, "name", start, stop) == data[start:stop]

        run(test)

    def test_reading(self, place: Place, storage: Storage, run: Run) -> None:
        """By pieces, by blocks, and not any more when it is closed."""
        data = text(3 * place.part_size)

        def test() -> None:
            put(storage, "name", data)
            with storage.open("name", 5) as content:
                assert content.read(0) == b""
                assert content.read(7) == data[5:12]
                assert b"".join(content.blocks()) == data[12:]
                assert content.read() == b""
            content.close()
            with storage.open("name") as content:
                content.close()
                with pytest.raises(ValueError, match="closed"):
                    content.read(1)

        run(test)

    def test_what_is_not_there(self, place: Place, storage: Storage, run: Run) -> None:
        def test() -> None:
            put(storage, "folder/name", b"x")
            for key in ("other", "folder", "folder/other", "folder/name/below"):
                for ask in (storage.stat, storage.open):
                    with pytest.raises(NotStored):
                        ask(key)
                storage.delete(key)
            assert is_there(storage, "folder/name")
            for _ in range(2):
                storage.delete("folder/name")
            assert not is_there(storage, "folder/name")

        run(test)
        assert place.remains() == []

    def test_what_is_told(self, storage: Storage, run: Run) -> None:
        def test() -> None:
            begun = datetime.datetime.now(datetime.timezone.utc)
            put(storage, "name", b"12345")
            found = storage.stat("name")
            assert (found.key, found.size) == ("name", 5)
            # A store tells whole seconds.
            assert abs(found.modified - begun) < datetime.timedelta(seconds=DEADLINE)
            assert found.etag

        run(test)

    def test_list(self, storage: Storage, run: Run) -> None:
        """In the order of their keys, by their beginning, without what is no object yet."""
        keys = ["a-b", "a.txt", "b/c/d", "b/c.d", "b/ü", "日本", "z%20 z"]

        def test() -> None:
            assert list(storage.list()) == []
            for key in reversed(keys):
                put(storage, key, key.encode())
            storage.begin("writing", size=5)
            with storage.deposit("deposit") as deposit:
                deposit.write(b"x")
                found = list(storage.list())
            assert [one.key for one in found] == sorted(keys)
            assert [one.size for one in found] == [len(key.encode()) for key in sorted(keys)]
            for prefix in ("a", "a.", "b/", "b/c", "b/c/", "b/c/d", "nothing", "日", "z%"):
                expected = [key for key in sorted(keys) if key.startswith(prefix)]
                assert [one.key for one in storage.list(prefix)] == expected
            aborted_leftovers(storage)

        run(test)

    @pytest.mark.parametrize(
        "key",
        [
            "ü",
            "日本/語",
            "e\u0301",  # two characters, which some systems make one
            "with space",
            " ",
            "100%",
            "%2e%2e",
            "a+b&c=d;e?f#g",
            "'\"<>|*:",
            "...",
            "..a/a..",
            ".hidden",
            "~",
            "-rf",
            "a" * 255,
            "/".join(["b" * 127] * 8),  # 1,023 bytes
            "b" * 1024,
            "😀",
            "..",
            ".",
            "a/..",
            "../a",
            "a/../../b",
            "a/./b",
            "/absolute",
            "a//b",
            "trailing/",
            "",
            "a\0b",
            "a\nb",
            "a\\b",
            "\ud800",
            "c" * 1025,
        ],
    )
    def test_a_key_is_refused_or_given_back(
        self, place: Place, storage: Storage, key: str
    ) -> None:
        """Everywhere the same."""
        try:
            put(storage, key, b"content")
        except UnsafePath:
            refused: list[Callable[[], object]] = [
                lambda: storage.begin(key),
                lambda: storage.open(key),
                lambda: storage.stat(key),
                lambda: storage.delete(key),
            ]
            for ask in refused:
                with pytest.raises(UnsafePath):
                    ask()
            assert list(storage.list()) == []
        else:
            assert not {"", ".", ".."}.intersection([key])
            assert "\0" not in key
            assert ".." not in key.split("/")
            assert [one.key for one in storage.list()] == [key]
            assert storage.stat(key).key == key
            assert content_of(storage, key) == b"content"
            token = again(storage.begin(key, size=3))
            write(storage, token, 0, b"new")
            assert storage.commit(token, 3, overwrite=True).key == key
            assert content_of(storage, key) == b"new"
            storage.delete(key)
            assert not is_there(storage, key)
        assert place.remains() == []

    def test_sign(self, place: Place, storage: Storage) -> None:
        if place.can_sign:
            assert storage.sign("name").startswith("http")
        else:
            with pytest.raises(NotImplementedError):
                storage.sign("name")
