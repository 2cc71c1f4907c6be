"""The time now, in one place, so that tests can set it."""

from __future__ import annotations

import datetime as dt


def datetime_now() -> dt.datetime:
    """The local time."""
    return dt.datetime.now()


def datetime_utcnow() -> dt.datetime:
    """The time in UTC."""
    return dt.datetime.now(dt.timezone.utc)
