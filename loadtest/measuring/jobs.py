"""What the settings mean for each of the measuring processes: their jobs. No I/O."""

from __future__ import annotations

from dataclasses import replace

from loadtest.clients import pace, refused
from loadtest.clients.connection import Address
from loadtest.clients.probes import ProbeJob
from loadtest.clients.refused import RefusedJob
from loadtest.clients.uploads import CLIENT, UploadJob
from loadtest.measuring import plan
from loadtest.settings import CONNECTIONS, Settings

WARM_UP_REFUSAL = 64 * 1024  # bytes, which any server takes: as much as one read


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


def fast_job(settings: Settings, address: Address) -> UploadJob:
    """The one upload beside stalled clients. `size` is theirs."""
    assert settings.total is not None
    return upload_job(replace(settings, size=None), address, 1, settings.total)


def stalled_job(settings: Settings, address: Address) -> UploadJob:
    """The stalled clients. They stay for as long as they are not told to go."""
    assert settings.size is not None
    return replace(
        upload_job(settings, address, 1, settings.size),
        clients=settings.stalled,
        speeds=(pace.hold(settings.held),),
        verify_sha256=False,
        seconds=settings.deadline * 2,
    )


def refused_job(settings: Settings, address: Address) -> RefusedJob:
    """The refused clients."""
    assert settings.size is not None
    return RefusedJob(
        address=address,
        target=settings.upload_path or "/refuse",
        headers=settings.headers,
        field=settings.field,
        body=settings.body,
        clients=settings.refusals,
        kinds=settings.kinds,
        size=settings.size,
        send_all_size=settings.send_all_size,
        status=settings.status,
        seed=settings.seed,
        seconds=settings.deadline,
    )


def refused_warm_up(settings: Settings, address: Address) -> RefusedJob:
    """One refusal that no server has trouble with."""
    job = refused_job(settings, address)
    return replace(job, clients=1, kinds=(refused.SEND_ALL,), send_all_size=WARM_UP_REFUSAL)
