"""The exceptions of partita: one class for each kind of failure, all of them `PartitaError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from partita._native import masked

__all__ = [
    "AlreadyExists",
    "CommitConflict",
    "CommitUnknown",
    "CommitUnsupported",
    "Corrupt",
    "Interrupted",
    "InvalidArgument",
    "InvalidPredicate",
    "NotFound",
    "OutOfSync",
    "PartitaError",
    "ReadOnly",
    "SchemaMismatch",
    "StagedExpired",
    "StaleIndex",
    "StoreError",
]


class PartitaError(Exception):
    """Any failure of partita. Passwords in URLs are masked in its text and its context.

    Attributes
    ----------
    kind : str
        The stable name of the kind of failure, the same that the command line prints.
    context : dict of str to str
        Where it happened: ``key``, ``column``, ``partition``, ``version``, ``dataset``, …

    Examples
    --------
    >>> import partita as pt
    >>> try:
    ...     pt.open_table("memory://errors/absent")
    ... except pt.PartitaError as error:
    ...     print(error.kind)
    NotFound
    """

    _default_kind = "Internal"

    kind: str
    context: dict[str, str]

    def __init__(
        self, message: str, *, kind: str | None = None, context: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(masked(message))
        self.kind = kind if kind is not None else self._default_kind
        self.context = {name: masked(value) for name, value in (context or {}).items()}

    def _render_traceback_(self) -> list[str]:
        """The traceback that IPython shows, which ends at the caller's line."""
        from partita._tracebacks import rendered

        return rendered(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers send errors pickled, and the default loses keyword-only arguments.
        return _rebuild, (type(self), str(self), self.kind, self.context)


def _rebuild(
    cls: type[PartitaError], message: str, kind: str, context: dict[str, str]
) -> PartitaError:
    return cls(message, kind=kind, context=context)


class NotFound(PartitaError):
    """The named dataset, object, column or version does not exist."""

    _default_kind = "NotFound"


class AlreadyExists(PartitaError):
    """The thing to create exists already."""

    _default_kind = "AlreadyExists"


class InvalidArgument(PartitaError, ValueError):
    """An argument has a value that is not accepted."""

    _default_kind = "InvalidArgument"


class InvalidPredicate(PartitaError, ValueError):
    """A predicate cannot be read, or names a column or value that does not fit the schema."""

    _default_kind = "InvalidPredicate"


class SchemaMismatch(PartitaError, ValueError):
    """Data does not fit the schema of the dataset."""

    _default_kind = "SchemaMismatch"


class OutOfSync(PartitaError):
    """A view and its base do not have the same rows any more; `View.sync` corrects that."""

    _default_kind = "OutOfSync"


class CommitConflict(PartitaError):
    """Another commit made this one impossible; nothing was changed, and a new try may succeed."""

    _default_kind = "CommitConflict"


class CommitUnsupported(PartitaError):
    """The store cannot commit atomically."""

    _default_kind = "CommitUnsupported"


class CommitUnknown(PartitaError):
    """It could not be learned whether the commit happened.

    ``context["commit"]`` is its id, for `Table.committed` to ask with.
    """

    _default_kind = "CommitUnknown"


class StagedExpired(PartitaError):
    """What was staged is too old to be committed, or has been removed; nothing was changed."""

    _default_kind = "StagedExpired"


class StaleIndex(PartitaError):
    """An index does not reflect its collection, and cannot be refreshed without its function."""

    _default_kind = "StaleIndex"


class ReadOnly(PartitaError):
    """The store or the dataset was opened for reading only."""

    _default_kind = "ReadOnly"


class Corrupt(PartitaError):
    """Stored bytes do not conform to their format, or an object is missing."""

    _default_kind = "Corrupt"


class StoreError(PartitaError):
    """The store failed: network, permissions, disk."""

    _default_kind = "Store"


class Interrupted(PartitaError):
    """The operation was asked to stop."""

    _default_kind = "Interrupted"
