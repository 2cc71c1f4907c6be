"""Partitions of a collection that are written and not yet part of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from partita.errors import InvalidArgument
from partita.records import human_bytes, human_count

__all__ = ["StagedPartitions", "forms_of"]

# The class below has an attribute of the same name as the builtin type.
_Bytes = bytes


@dataclass(frozen=True)
class StagedPartitions:
    """Partitions that are written but not yet part of a collection; made by `Collection.stage`.

    It is small, and may be pickled or sent as bytes to where it is committed, once.
    """

    url: str
    """The collection."""
    paths: tuple[str, ...]
    """The partitions, and the place of the variables that are the same for all."""
    bytes: int
    """The size of what was written."""
    forms: tuple[_Bytes, ...]
    """The staged changes in the engine's form, one for each path."""

    def to_bytes(self) -> _Bytes:
        """A form to send elsewhere.

        Examples
        --------
        >>> import partita as pt
        >>> rows = {"cycle": ("n", [1])}
        >>> c = pt.create_collection(
        ...     "memory://staged-partitions/sent",
        ...     rows,
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     insert=False,
        ... )
        >>> sent = c.stage(rows).to_bytes()
        >>> c.commit(pt.StagedPartitions.from_bytes(sent))
        1
        """
        forms = [form.decode() for form in self.forms]
        return json.dumps([self.url, self.paths, self.bytes, forms]).encode()

    @classmethod
    def from_bytes(cls, data: _Bytes) -> StagedPartitions:
        """Read what `to_bytes` gave.

        Examples
        --------
        >>> import partita as pt
        >>> rows = {"cycle": ("n", [1, 2])}
        >>> c = pt.create_collection(
        ...     "memory://staged-partitions/c",
        ...     rows,
        ...     axis="cycle",
        ...     partition_by=pt.Sequence(["cycle"]),
        ...     insert=False,
        ... )
        >>> pt.StagedPartitions.from_bytes(c.stage(rows).to_bytes()).paths
        ('cycle=1', 'cycle=2')
        """
        try:
            url, paths, size, forms = json.loads(data)
            staged = cls(url, tuple(paths), int(size), tuple(form.encode() for form in forms))
        except (AttributeError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise InvalidArgument("that is nothing that Collection.stage gave") from error
        texts = all(isinstance(one, str) for one in (url, *staged.paths))
        if not texts or len(staged.paths) != len(staged.forms):
            raise InvalidArgument("that is nothing that Collection.stage gave")
        return staged

    def __repr__(self) -> str:
        return f"StagedPartitions({len(self.paths)} partitions, {human_bytes(self.bytes)})"

    def _repr_html_(self) -> str:
        from partita._native import masked
        from partita._notebook import record_html

        pairs = [
            ("collection", masked(self.url)),
            ("partitions", human_count(len(self.paths))),
            ("size", human_bytes(self.bytes)),
        ]
        return record_html("StagedPartitions", pairs)


def forms_of(staged: StagedPartitions | Iterable[StagedPartitions], url: str) -> list[bytes]:
    """The staged changes in the engine's form.

    Raises
    ------
    InvalidArgument
        If something is of another collection, or two are of one partition.
    """
    several = [staged] if isinstance(staged, StagedPartitions) else list(staged)
    found: dict[str, Any] = {}
    for one in several:
        if not isinstance(one, StagedPartitions):
            raise InvalidArgument(f"commit takes what stage returned, not {one!r}")
        if one.url != url:
            raise InvalidArgument(f"that was staged for {one.url}, and not for {url}")
        for path, form in zip(one.paths, one.forms, strict=True):
            if path in found and found[path] != form:
                raise InvalidArgument(
                    f"partition {path} was staged twice, and one would take the place of the "
                    "other; stage all its rows in one place, or commit the one and stage the other "
                    "again",
                    context={"partition": path},
                )
            found[path] = form
    return list(found.values())
