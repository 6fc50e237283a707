"""Hundreds of clients of all kinds for a while: each body accounted for, and nothing left over.

`make soak` runs it for longer: SOAK_SECONDS and SOAK_CLIENTS say how long and how many, SOAK_SEED
repeats what chance did before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator
import os
import random
import ssl
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from live_server import Certificate, Gunicorn, LiveServer, descriptors, wait_until
from soak import SETTINGS, Crowd, Outcome

from cooperative_upload.monitoring.board import ENDINGS

SECONDS = float(os.environ.get("SOAK_SECONDS", "5"))
CLIENTS = int(os.environ.get("SOAK_CLIENTS", "200"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 32)))

COUNTED = (*ENDINGS, "handshake_failed", "headers_timed_out")

# By how much a worker may have grown from one round to the next: what allocators keep.
GROWTH_BYTES = 16 << 20


@dataclass(frozen=True)
class Resources:
    """What a worker has in use."""

    descriptors: int
    threads: int
    greenlets: int


class Watched:
    """One server, what it counted and what it has in use."""

    def __init__(self, server: LiveServer, context: ssl.SSLContext | None) -> None:
        self.server = server
        self.context = context
        (self.worker,) = server.workers()

    def state(self) -> dict[str, Any]:
        with self.server.connect() as connection:
            connection.send_request("GET", "/state", headers={"Connection": "close"})
            state: dict[str, Any] = json.loads(connection.response().body)
        return state

    def counters(self) -> Counter[str]:
        """How bodies and connections ended."""
        uploads = self.state()["uploads"]
        return Counter({name: uploads[name] for name in COUNTED})

    def resources(self) -> Resources:
        state = self.state()
        # The connection that asked has ended, but perhaps not yet at the other side.
        wait_until(lambda: len(self._connections()) == 1, "one socket, the listening one")
        return Resources(len(descriptors(self.worker)), state["threads"], state["greenlets"])

    def wait_until_no_more_than(self, resources: Resources) -> None:
        """Less is fine: what had been counted before may have been about to end."""
        most = dataclasses.astuple(resources)

        def is_less() -> bool:
            now = dataclasses.astuple(self.resources())
            return all(map(operator.le, now, most))

        try:
            wait_until(is_less, f"no more than {resources} in use")
        except AssertionError as error:
            error.args = (f"{error}; now {self.resources()}",)
            raise

    def wait_until_idle(self) -> None:
        wait_until(lambda: len(self._connections()) == 1, "the end of all connections")
        wait_until(lambda: not self.server.spooled_descriptors(self.worker), "freed spools")
        wait_until(lambda: self.state()["uploads"]["lingering"] == 0, "nobody lingers")

    def rss(self) -> int:
        return int(psutil.Process(self.worker).memory_info().rss)

    def _connections(self) -> list[str]:
        return [path for path in descriptors(self.worker) if path.startswith("socket:")]


def one_round(servers: list[Watched], seconds: float, seed: str) -> list[Outcome]:
    """Let crowds loose on all servers at once, and check what each has counted."""
    before = [each.counters() for each in servers]
    crowds = [
        Crowd(each.server.port, each.context, CLIENTS // len(servers), f"{seed} {number}")
        for number, each in enumerate(servers)
    ]
    for crowd in crowds:
        crowd.start(seconds)
    outcomes = [crowd.join() for crowd in crowds]
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    assert not failures, failures[0]
    for each, earlier, outcome in zip(servers, before, outcomes, strict=True):
        each.wait_until_idle()
        counted = each.counters() - earlier
        assert counted == +outcome.expected
        assert "Traceback" not in each.server.log()
    return outcomes


def figures(name: str, each: Watched, outcomes: list[Outcome], rss: list[int]) -> str:
    """What happened to one server in the rounds, in a few lines."""
    latencies = sorted(1000 * seconds for o in outcomes for seconds in o.latencies)
    count = len(latencies)
    behaviours = sum((outcome.behaviours for outcome in outcomes), Counter[str]())
    endings = sum((outcome.expected for outcome in outcomes), Counter[str]())
    return (
        f"\n{name}: {behaviours.total():,} behaviours of {len(behaviours)} kinds"
        f"\n  endings, all as expected: {dict(sorted(endings.items()))}"
        f"\n  {count:,} small requests, ms: p50 {latencies[count // 2]:.1f}, "
        f"p99 {latencies[count * 99 // 100]:.1f}, longest {latencies[-1]:.1f}"
        f"\n  {each.resources()}, MB after each round: {[round(n / 1e6, 1) for n in rss]}"
    )


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_soak(newest: Gunicorn, certificate: Certificate) -> None:
    """Whatever the others do, those of good will get what they asked for, all of the time."""
    print(f"\nSOAK_SEED={SEED} SOAK_SECONDS={SECONDS:g} SOAK_CLIENTS={CLIENTS}")
    with contextlib.ExitStack() as stack:
        contexts = {"plain": None, "TLS": certificate.client_context}
        servers = []
        for context in contexts.values():
            server = LiveServer(
                newest,
                application="soak_application:application",
                certificate=certificate if context else None,
                environment=SETTINGS,
            )
            servers.append(Watched(stack.enter_context(server), context))

        one_round(servers, SECONDS / 5, f"{SEED} warm-up")
        before = [each.resources() for each in servers]
        outcomes, rss = [], []
        for _ in range(2):
            outcomes.append(one_round(servers, SECONDS * 2 / 5, str(SEED)))
            rss.append([each.rss() for each in servers])
            for each, resources in zip(servers, before, strict=True):
                each.wait_until_no_more_than(resources)
        for number, (name, each) in enumerate(zip(contexts, servers, strict=True)):
            first, second = rss[0][number], rss[1][number]
            print(figures(name, each, [o[number] for o in outcomes], [first, second]))
            assert second - first < GROWTH_BYTES
