"""The requests of this process to servers, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from partita import _native

__all__ = ["Metrics", "metrics"]


@dataclass(frozen=True)
class Metrics:
    """Requests to servers, of all operations or of one."""

    requests: int = 0
    """Requests that were sent; those that were repeated count each time."""
    retries: int = 0
    """Requests that got no answer, or one that the server is busy or out of order. Most are sent
    again, until the time for it is up."""
    bytes_sent: int = 0
    """Bytes of the bodies of requests."""
    bytes_received: int = 0
    """Bytes of the bodies of answers."""
    by_operation: Mapping[str, Metrics] = field(default_factory=dict)
    """The same by ``get``, ``head``, ``list``, ``put``, ``copy``, ``delete``, ``upload`` (a step
    of a multipart upload) and ``other``, such as requests for credentials."""


def metrics(*, reset: bool = False) -> Metrics:
    """The requests to servers since this process began, or since the last reset.

    Local files and ``memory://`` are read and written without requests. Stores that are
    implemented in Python send their own, which do not count.

    Parameters
    ----------
    reset
        Count from zero again.

    Examples
    --------
    >>> import partita as pt
    >>> pt.metrics(reset=True).requests >= 0
    True
    >>> table = pt.create_table("memory://metrics/t", {"a": [1]})
    >>> pt.metrics().requests, pt.metrics().by_operation["get"].bytes_received
    (0, 0)
    """
    counted = {
        operation: Metrics(requests, retries, sent, received)
        for operation, requests, retries, sent, received in _native.metrics(reset)
    }
    every = counted.values()
    return Metrics(
        requests=sum(of.requests for of in every),
        retries=sum(of.retries for of in every),
        bytes_sent=sum(of.bytes_sent for of in every),
        bytes_received=sum(of.bytes_received for of in every),
        by_operation=counted,
    )
