"""A certificate for the loopback address, made for one run and trusted by our own clients only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loadtest.errors import UsageError


@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files: the server's chain and key, and the authority that clients trust."""

    chain: str
    key: str
    authority: str


def make_certificate(directory: Path, host: str) -> Certificate:
    """Write the files into `directory`. Raises UsageError without the package trustme."""
    try:
        import trustme
    except ImportError:
        raise UsageError("--tls needs the Python package trustme: pip install trustme.") from None
    authority = trustme.CA()
    issued = authority.issue_cert(host)
    made = Certificate(*(str(directory / name) for name in ("chain.pem", "key.pem", "ca.pem")))
    issued.cert_chain_pems[0].write_to_path(made.chain)
    issued.private_key_pem.write_to_path(made.key)
    authority.cert_pem.write_to_path(made.authority)
    return made
