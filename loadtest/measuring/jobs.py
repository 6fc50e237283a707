"""What the settings mean for each of the measuring processes: their jobs. No I/O."""

from __future__ import annotations

from loadtest.clients.connection import Address
from loadtest.clients.probes import ProbeJob
from loadtest.clients.uploads import CLIENT, UploadJob
from loadtest.measuring import plan
from loadtest.settings import CONNECTIONS, Settings


def probe_job(settings: Settings, address: Address) -> ProbeJob:
    """The small requests."""
    return ProbeJob(
        address=address,
        target=settings.ping_path,
        headers=settings.headers,
        rate=settings.rate,
        connections=CONNECTIONS[settings.connections],
        seed=settings.seed,
        drain=settings.drain,
    )


def upload_job(settings: Settings, address: Address, clients: int, total: int) -> UploadJob:
    """`clients` that upload `total` bytes of content together."""
    size = plan.make_size(settings, clients, total)
    is_form = settings.body.startswith("form")
    default = "/upload" if is_form else f"/stored/{CLIENT}" if settings.store else "/raw"
    target = settings.upload_path or default
    return UploadJob(
        address=address,
        method="POST" if is_form else "PUT",
        target=f"{target}?sha256=1" if settings.verify_sha256 else target,
        headers=settings.headers,
        field=settings.field,
        kind=settings.body,
        clients=clients,
        requests=size.requests,
        size=size.size,
        speeds=settings.speeds,
        seed=settings.seed,
        verify_sha256=settings.verify_sha256,
        seconds=settings.deadline,
    )
