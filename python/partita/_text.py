"""Text that callers give as names, URLs and conditions."""

from __future__ import annotations

from typing import Any

from partita.errors import InvalidArgument

__all__ = ["text"]

_LONGEST = 200


def text(what: str, value: Any) -> str:
    """Text that UTF-8 can hold; others have no name in a store or a file.

    Examples
    --------
    >>> text("a URL", "lake")
    'lake'
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} is text, not {_cut(repr(value))}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"{what} is no Unicode text, since it has half of a surrogate pair: "
            + _cut(ascii(value))
        ) from None
    return value


def _cut(shown: str) -> str:
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown)} characters)"
