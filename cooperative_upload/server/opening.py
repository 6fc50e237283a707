"""The storage of a command: made once for each bucket or folder, within the command's bounds."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..settings_in_force import holding_for_process, settings_of_process
from ..storage import Storage, storage_for
from .destinations import Destination, NoDestination

# Which storages know an option.
_MEANT_FOR = {"endpoint_url": {"s3"}, "part_bytes": {"s3", "swift"}}

_FLAGS = {"endpoint_url": "endpoint", "part_bytes": "part-size"}


class Opening:
    """What was said of how to reach the storage.

    endpoint: of a store that is not where its kind usually is.
    part_size: bytes; None for what the storage plans.
    memory: bytes for parts in flight; None for the setting.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        part_size: int | None = None,
        memory: int | None = None,
    ) -> None:
        said = {"endpoint_url": endpoint, "part_bytes": part_size}
        self._options: dict[str, Any] = {
            name: value for name, value in said.items() if value is not None
        }
        self._memory = memory
        self._open: dict[str, Storage] = {}

    def words(self) -> list[str]:
        """What another command has to say to reach the same storage in the same way."""
        endpoint = self._options.get("endpoint_url")
        return ["--endpoint", endpoint] if endpoint else []

    def _refuse_what_means_nothing(self, url: str) -> None:
        scheme = url.partition("://")[0]
        for name in self._options:
            if scheme not in _MEANT_FOR[name]:
                raise NoDestination(f"--{_FLAGS.get(name, name)} means nothing to {scheme}://.")

    def storage(self, destination: Destination) -> Storage:
        return self.storage_at(destination.storage)

    def storage_at(self, url: str) -> Storage:
        """The storage of a URL. Raises NoDestination for one of no kind that there is."""
        if self._memory is not None:
            settings = settings_of_process()
            holding_for_process(dataclasses.replace(settings, storage_memory_bytes=self._memory))
        if url not in self._open:
            self._refuse_what_means_nothing(url)
            try:
                self._open[url] = storage_for(url, **self._options)
            except (ValueError, ImportError) as error:  # of the URL; a library that is missing
                raise NoDestination(f"{error}.") from error
        return self._open[url]
