"""Python values as the plain literals that the engine takes.

The engine knows ``None``, bool, int, float, str and bytes, and tagged tuples for what has many
classes in Python: ``("date", days)``, ``("timestamp", nanoseconds, zoned)`` and
``("decimal", value, scale)``. Classes of numpy and pandas are recognised without importing either.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable, Mapping
from typing import Any

from partita._calendars import is_date
from partita.errors import InvalidPredicate

_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.timezone.utc)
_MICROSECOND = dt.timedelta(microseconds=1)
_INT_LIMIT = 1 << 127


def literal(value: Any) -> Any:
    """The plain form of one value; None for every kind of missing value but NaN."""
    if value is None or isinstance(value, (bool, str, bytes)):
        return value
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dt.datetime):
        return _timestamp(value)
    if isinstance(value, dt.date):
        return ("date", value.toordinal() - _EPOCH_DAY)
    if isinstance(value, dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if is_date(value):
        return value.isoformat()
    return _foreign(value)


def is_values(value: Any) -> bool:
    """Whether `value` is several values."""
    if isinstance(value, (str, bytes, Mapping)):
        return False
    if getattr(value, "ndim", None) == 0:
        return False
    return isinstance(value, Iterable)


def literals(column: str, values: Any) -> list[Any]:
    """The plain forms of several values."""
    if not is_values(values):
        raise InvalidPredicate(
            f"column {column}: in takes a list of values, not {type(values).__name__}",
            context={"column": column},
        )
    return [literal(value) for value in values]


def _integer(value: int) -> int | float:
    # No column holds wider integers. As a float it keeps its place in the order.
    return value if -_INT_LIMIT <= value < _INT_LIMIT else float(value)


def _timestamp(value: dt.datetime) -> Any:
    if value is not value or type(value).__name__ == "NaTType":
        return None
    zoned = value.tzinfo is not None and value.utcoffset() is not None
    # A pandas timestamp carries nanoseconds that datetime does not know.
    nanoseconds = getattr(value, "nanosecond", 0)
    base = _EPOCH_UTC if zoned else _EPOCH
    plain = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    if not zoned:
        plain = plain.replace(tzinfo=None)
    micros = (plain - base) // _MICROSECOND
    return ("timestamp", micros * 1000 + nanoseconds, zoned)


def _decimal(value: decimal.Decimal) -> Any:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return float(value)
    number = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    if exponent > 0:
        number, exponent = number * 10**exponent, 0
    if -exponent > 127 or abs(number) >= _INT_LIMIT:
        return float(value)
    return ("decimal", number, -exponent)


def _foreign(value: Any) -> Any:
    kind = type(value)
    if kind.__module__ == "numpy":
        return _numpy(value)
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "as_py"):  # a pyarrow scalar
        return literal(value.as_py())
    raise InvalidPredicate(f"values of class {kind.__name__} cannot be compared with a column")


def _numpy(value: Any) -> Any:
    if type(value).__name__ == "datetime64":
        if str(value) == "NaT":
            return None
        if value.dtype.str[4:] == "[D]":
            return literal(value.item())
        return ("timestamp", _nanoseconds(value), False)
    plain = value.item()
    if type(plain) is type(value):
        raise InvalidPredicate(
            f"values of class {type(value).__name__} cannot be compared with a column"
        )
    return literal(plain)


def _nanoseconds(value: Any) -> int:
    unit = value.dtype.str[4:].strip("[]")
    if unit in ("ns", "us", "ms", "s", "m", "h"):
        per = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
        return int(value.astype("int64")) * per[unit]
    return int(value.astype("datetime64[s]").astype("int64")) * 10**9
