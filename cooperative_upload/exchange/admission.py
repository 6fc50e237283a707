"""How many uploads may run at once, in this worker and from one client.

Who finds no place waits for one, first come, first served, for as long as the settings say, and
is refused with TooManyUploads then. A limit that is off costs nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator

from ..body import CooperativeInput
from ..errors import TooManyUploads
from ..monitoring import State, spending
from ..settings import UploadSettings
from ..turns import Places


class Admission:
    """The places of one worker."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._places = Places(settings.max_uploads) if settings.max_uploads else None
        self._places_of: dict[str, Places] = {}
        self._interest: dict[str, int] = {}  # uploads of a client that hold a place or wait

    def admit(self, body: CooperativeInput, client: str, places: contextlib.ExitStack) -> None:
        """Raise what a request is refused with before its application sees it.

        client: its address.
        places: gives back what it takes here.
        """
        if body.error is not None:
            raise body.error
        if not body.takes_turns:
            return
        with spending(State.WAITING_FOR_A_PLACE, "waited_for_turns"):
            self.take_places(client, places)
        # What the application does before its first read is part of the upload too: a hundred
        # uploads that begin at once would otherwise do it all in one round of the loop.
        body.checkpoint()

    def take_places(self, client: str, places: contextlib.ExitStack) -> None:
        """A place for one upload, as far as there are limits. Raises TooManyUploads.

        client: its address.
        places: gives back what is taken here.
        """
        # The client's own limit comes first: who waits there takes no place from the others.
        if self._settings.max_uploads_per_client:
            places.enter_context(self._place_of(client))
        if self._places is not None:
            places.enter_context(self._place(self._places, "this server"))

    @contextlib.contextmanager
    def _place_of(self, address: str) -> Iterator[None]:
        limit = self._settings.max_uploads_per_client
        client = client_of(address, self._settings.client_ipv6_bits)
        places = self._places_of.setdefault(client, Places(limit))
        self._interest[client] = self._interest.get(client, 0) + 1
        try:
            with self._place(places, "this client"):
                yield
        finally:
            self._interest[client] -= 1
            if not self._interest[client]:
                del self._interest[client], self._places_of[client]

    @contextlib.contextmanager
    def _place(self, places: Places, whose: str) -> Iterator[None]:
        settings = self._settings
        if not places.take(settings.max_uploads_wait_seconds):
            limit = (
                settings.max_uploads
                if places is self._places
                else (settings.max_uploads_per_client)
            )
            raise TooManyUploads(whose, limit, settings.retry_after_seconds)
        try:
            yield
        finally:
            places.give_back()


def client_of(address: str, ipv6_bits: int) -> str:
    """Who counts as one client: an address of IPv4, a network of IPv6.

    address: as the server tells it, also that of IPv4 which a socket for both versions shows as
        one of IPv6 (RFC 4291 section 2.5.5.2). A word that is no address is a client of its own.
    """
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), ipv6_bits), strict=False))
