"""Files written but not yet visible, and changes that become visible together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from partita import _native
from partita._arguments import Metadata, required
from partita.errors import CommitUnknown, InvalidArgument, PartitaError
from partita.expression import Expr, Where, predicate
from partita.records import Commit, human_bytes, human_count

if TYPE_CHECKING:
    from partita.table import Table

__all__ = ["Staged", "Transaction"]


class Staged:
    """Files that are written but not yet part of a table; made by `Table.stage`.

    It is small, and may be pickled or sent as bytes to where it is committed, once.
    """

    def __init__(self, native: _native.Staged) -> None:
        self._native = native

    @classmethod
    def from_bytes(cls, data: bytes) -> Staged:
        """Read what `to_bytes` gave.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://staging/t", {"a": [1]})
        >>> pt.Staged.from_bytes(table.stage({"a": [2, 3]}).to_bytes()).rows
        2
        """
        return cls(_native.Staged.from_bytes(data))

    @classmethod
    def merge(cls, staged: Sequence[Staged]) -> list[Staged]:
        """Merge several into as few as possible: one for each schema of the data among them.

        Committing the result commits all of them. It is smaller to send.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table("memory://staging/merge", {"a": [1]})
        >>> pt.Staged.merge([table.stage({"a": [n]}) for n in range(3)])
        [Staged(3 rows, ...)]
        """
        return [cls(native) for native in _native.Staged.merge([one._native for one in staged])]

    def without(self, keys: Sequence[str]) -> Staged:
        """The same without some of its files, which become garbage.

        Examples
        --------
        >>> import partita as pt
        >>> first = {"day": [1], "fare": [9.0]}
        >>> table = pt.create_table("memory://staging/without", first, partition_by="day")
        >>> staged = table.stage({"day": [2, 3], "fare": [12.5, 30.0]})
        >>> staged.without(staged.keys[:1]).rows
        1
        """
        return Staged(self._native.without(list(keys)))

    def to_bytes(self) -> bytes:
        """A form to send elsewhere.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/to_bytes",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> sent = table.stage({"id": [4], "fare": [1.0]}).to_bytes()
        >>> _ = table.commit(pt.Staged.from_bytes(sent))
        >>> table.count()
        4
        """
        return self._native.to_bytes()

    @property
    def keys(self) -> list[str]:
        """The keys of the files."""
        return self._native.keys

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self._native.rows

    @property
    def bytes(self) -> int:
        """The size of the files."""
        return self._native.bytes

    def __repr__(self) -> str:
        return f"Staged({human_count(self.rows)} rows, {human_bytes(self.bytes)})"

    def _repr_html_(self) -> str:
        from partita._notebook import record_html

        pairs = [
            ("rows", human_count(self.rows)),
            ("files", human_count(len(self.keys))),
            ("size", human_bytes(self.bytes)),
        ]
        return record_html("Staged", pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Staged.from_bytes, (self.to_bytes(),)


class Transaction:
    """Several changes that become visible together; made by `Table.transaction`.

    Rows are written when they are appended, and nobody sees them before the block ends. If an
    exception ends it, nothing has changed. Deletes apply to the rows that were there before, not to
    those that the same transaction appends.
    """

    commit: Commit | None = None
    """What was committed, after the block."""

    def __init__(self, table: Table, metadata: Metadata | None, key: str | None = None) -> None:
        self._table = table
        self._metadata = metadata
        self._key = key
        self._staged: list[Staged] = []
        self._scope: Expr | None = None
        self._open = False

    def append(self, data: Any, **options: Any) -> None:
        """Add rows; the options are those of `Table.stage`.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/tx_append",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> with table.transaction() as tx:
        ...     tx.append({"id": [4], "fare": [1.0]})
        >>> table.count()
        4
        """
        self._check()
        self._staged.append(self._table.stage(data, **options))

    def delete(self, where: Where) -> None:
        """Remove the rows that match.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/tx_delete",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> with table.transaction() as tx:
        ...     tx.delete(where="fare > 10")
        >>> table.count()
        1
        """
        self._check()
        scope = Expr(predicate(required("delete", where)))
        self._scope = scope if self._scope is None else self._scope | scope

    def replace(self, data: Any, where: Where, **options: Any) -> None:
        """Swap the rows that match for new ones.

        Examples
        --------
        >>> import partita as pt
        >>> table = pt.create_table(
        ...     "memory://examples/tx_replace",
        ...     {"id": [1, 2, 3], "fare": [12.5, 30.0, 9.0]},
        ... )
        >>> with table.transaction() as tx:
        ...     tx.replace({"id": [7], "fare": [1.0]}, where="fare > 10")
        >>> sorted(table.read()["id"])
        [3, 7]
        """
        required("replace", where)
        self.append(data, **options)
        self.delete(where)

    def __enter__(self) -> Transaction:
        if self._open or self.commit is not None:
            raise InvalidArgument("a transaction is used once; begin another")
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        staged, self._staged = self._staged, []
        if error is not None:
            # What cannot be discarded is garbage, and the error of the block counts.
            with suppress(PartitaError):
                self._table.discard(staged)
        elif staged or self._scope is not None or self._metadata:
            try:
                self.commit = self._table.commit(
                    staged, where=self._scope, metadata=self._metadata, key=self._key
                )
            except CommitUnknown:
                raise
            except Exception:
                with suppress(PartitaError):
                    self._table.discard(staged)
                raise

    def __repr__(self) -> str:
        return f"Transaction({', '.join(f'{name}={value}' for name, value in self._facts())})"

    def _repr_html_(self) -> str:
        from partita._notebook import record_html

        return record_html("Transaction", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        """The facts about the staged changes, or about the commit once it was made."""
        if self.commit is not None:
            return [("table", self._table.name), ("commit", repr(self.commit))]
        return [
            ("table", self._table.name),
            ("state", "open" if self._open else "not open"),
            ("rows appended", human_count(sum(one.rows for one in self._staged))),
            ("deletes", "nothing" if self._scope is None else str(self._scope)),
        ]

    def _check(self) -> None:
        if not self._open:
            raise InvalidArgument("a transaction is open inside its with block")
