"""What lingering connections throw away is bounded in bytes a second, all of them together."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import gevent
import pytest
from greenlets import hub_scheduler, in_greenlet, join
from hypothesis import given
from hypothesis import strategies as st
from sockets import socket_pair

from cooperative_upload.exchange.lingering import Allowance, Lingering
from cooperative_upload.settings import UploadSettings


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10)), max_size=30))
def test_an_allowance(spendings: list[tuple[int, int]]) -> None:
    """Who waits as he is told never spends more than the rate, but for the last time."""
    allowance = Allowance(100)
    now, spent, last = 0.0, 0, 0
    for number, later in spendings:
        now += later
        assert spent - last <= 100 * now + 1e-6
        now += allowance.spend(number, now)
        spent, last = spent + number, number


def test_no_limit() -> None:
    """0: nobody waits."""
    assert Allowance(0).spend(1 << 40, 5.0) == 0


@pytest.mark.parametrize("connections", [1, 5])
def test_clients_that_send_as_fast_as_they_can(connections: int) -> None:
    """Together they are held to the rate; each is cut when its time is up."""
    rate, seconds = 1_000_000, 0.5
    settings = UploadSettings(lingering_rate_bytes=rate, lingering_seconds=seconds)
    lingering = Lingering(settings)
    received = [0]

    def send(client: Any) -> None:
        with contextlib.suppress(OSError):
            while True:
                received[0] += client.send(bytes(65536))

    def test() -> None:
        with contextlib.ExitStack() as stack:
            pairs = [stack.enter_context(socket_pair()) for _ in range(connections)]
            buffered = 0
            for client, _ in pairs:  # what the kernel holds, which nobody has thrown away yet
                client.settimeout(0)
                with contextlib.suppress(OSError):
                    while True:
                        buffered += client.send(bytes(65536))
                client.settimeout(None)
            senders = [gevent.spawn(send, client) for client, _ in pairs]
            began = time.monotonic()
            join(*(gevent.spawn(lingering.close, server) for _, server in pairs))
            took = time.monotonic() - began
            gevent.killall(senders)
        at_once = connections * 65536
        assert received[0] <= rate * took + 4 * at_once
        assert received[0] > 0

    with hub_scheduler():
        in_greenlet(test)
