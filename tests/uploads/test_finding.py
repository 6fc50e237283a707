"""What is there, and who finds it."""

from __future__ import annotations

import gevent
import gevent.event
import pytest
from upload_bench import MINE, Bench
from upload_services import body

from cooperative_upload.uploads import (
    Creation,
    NoSuchUpload,
    State,
    UploadService,
)


class TestFinding:
    """What is there."""

    def test_ids_that_are_none(self, bench: Bench) -> None:
        """Guessed, of another form, of somebody else: there is no such upload."""

        def test(uploads: UploadService) -> None:
            mine = uploads.create(MINE)
            for id in ("", "x", "A" * 24, mine.id + "\n", mine.id[:-1] + "\0", "../" + mine.id):
                with pytest.raises(NoSuchUpload):
                    uploads.status(id)
            for verb in (uploads.status, uploads.settle, uploads.finish, uploads.cancel):
                with pytest.raises(NoSuchUpload):
                    verb(mine.id, owner="somebody else")
            with pytest.raises(NoSuchUpload):
                uploads.append(mine.id, 0, body(b"x"), owner="somebody else")
            assert uploads.status(mine.id, owner="me") == mine

        bench.run(test)

    def test_pages_of_an_owner(self, bench: Bench) -> None:
        """Newest first, each once, those of the wanted states alone."""

        def test(uploads: UploadService) -> None:
            ids = [uploads.create(Creation("me", size=0)).id for _ in range(7)]
            uploads.create(Creation("somebody else", size=0))
            uploads.create(Creation("me", size=0, partial=True))
            for id in ids[:5]:
                uploads.finish(id)
            found, after = [], None
            while True:
                page = uploads.of_owner("me", after=after, most=2)
                found += [upload.id for upload in page.uploads]
                after = page.next
                if after is None:
                    break
            assert found == ids[4::-1]
            still_open = uploads.of_owner("me", states=[State.OPEN])
            assert [upload.id for upload in still_open.uploads] == ids[:4:-1]

        bench.run(test)

    def test_aliases(self, bench: Bench) -> None:
        """A client's own id finds its upload, of that owner alone, until it is forgotten."""
        creation = Creation("me", size=1, alias="10-film.mp4")

        def test(uploads: UploadService) -> None:
            creates = [gevent.spawn(uploads.create, creation) for _ in range(5)]
            (id,) = {create.get(timeout=20).id for create in creates}
            found = uploads.find("me", "10-film.mp4")
            assert found is not None
            assert found.id == id
            assert uploads.find("somebody else", "10-film.mp4") is None
            uploads.forget_alias(id)
            assert uploads.find("me", "10-film.mp4") is None
            assert uploads.create(creation).id != id

        bench.run(test)
        assert len(bench.storage.writings) == 2
