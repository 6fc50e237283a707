"""What the load test would have measured: made up, for the tests of what it says of it."""

from __future__ import annotations

from loadtest.clients.probes import NEW, Probe
from loadtest.clients.uploads import Upload
from loadtest.measuring.statistics import Cost, Measurement


def probe(due: float, latency: float, *, outcome: str = "ok", connection: str = NEW) -> Probe:
    return Probe(due, due, due + latency, connection, outcome)


def measurement(server: str = "a", clients: int = 1, *, latencies: tuple[float, ...] = (0.001,),
                seconds: float = 2.0, content: int = 10**9) -> Measurement:  # fmt: skip
    return Measurement(
        server=server,
        clients=clients,
        probes=tuple(probe(0.5 + i * 0.001, latency) for i, latency in enumerate(latencies)),
        uploads=tuple(
            Upload(i, 0.5, 0.5 + seconds, content // clients, content // clients,
                   content // clients, "ok", 200)
            for i in range(clients)
        ),
        window=(0.5, 0.5 + seconds),
        cost=Cost(2.0, 50 << 20, 60 << 20),
        client_load=0.3,
        foreign_load=0.0,
        late=0.0001,
    )  # fmt: skip
