"""Expressions of pyarrow as trees.

pyarrow does not show what an expression is made of, but pickles it: as a record batch that holds
the literals and the options of functions, and, in the metadata of its schema, the parts of the
expression in order, as pairs of a kind and a text. A function call is ``call`` and its name, its
arguments, perhaps ``options`` and the number of a column, and ``end``. Substrait, the other form in
which pyarrow gives expressions, has no options of ``is_null`` and fewer types.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from partita._arrow import pyarrow
from partita.engines._conditions import Unfit

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

__all__ = ["Call", "Field", "Literal", "Node", "fields_of", "tree_of"]


@dataclass(frozen=True)
class Field:
    """A column by its name."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A constant, as an array of one value."""

    value: pa.Array


@dataclass(frozen=True)
class Call:
    """A function of other nodes."""

    function: str
    arguments: list[Node] = field(default_factory=list)
    options: dict[str, pa.Array] = field(default_factory=dict)
    """By name, each an array of one value."""


Node = Field | Literal | Call


def tree_of(expression: pc.Expression) -> Node:
    """The tree of an expression; `Unfit` for what is not pickled in the known form."""
    pa = pyarrow()
    try:
        _, (pickled,) = expression.__reduce__()
        reader = pa.ipc.open_file(pickled)
        batch = reader.get_batch(0)
        return _tree(_pairs(reader.schema.serialize().to_pybytes()), batch)
    except (pa.ArrowException, struct.error, ValueError, LookupError, TypeError):
        raise Unfit from None


def fields_of(expression: pc.Expression) -> set[str]:
    """The names of the columns that an expression looks at."""
    found: set[str] = set()
    left = [tree_of(expression)]
    while left:
        node = left.pop()
        if isinstance(node, Field):
            found.add(node.name)
        elif isinstance(node, Call):
            left += node.arguments
    return found


def _tree(pairs: list[tuple[str, str]], batch: pa.RecordBatch) -> Node:
    # The outermost call holds the whole expression. A loop is not bounded by the depth of calls.
    calls = [Call("")]
    for kind, text in pairs:
        if kind == "field_ref":
            calls[-1].arguments.append(Field(text))
        elif kind == "literal":
            calls[-1].arguments.append(Literal(batch.column(int(text))))
        elif kind == "call":
            calls.append(Call(text))
        elif kind == "options":
            calls[-1].options.update(_options(batch.column(int(text))))
        elif kind == "end":
            call = calls.pop()
            calls[-1].arguments.append(call)
        else:
            raise Unfit
    (root,) = calls[0].arguments
    return root


def _options(options: Any) -> dict[str, pa.Array]:
    return {one.name: options.field(place) for place, one in enumerate(options.type)}


def _pairs(message: bytes) -> list[tuple[str, str]]:
    """The metadata of a schema in its stored form, in order.

    pyarrow gives metadata as a dictionary, in which a key that occurs twice is lost. The stored
    form is a flatbuffer ``Message`` behind 8 bytes, with a ``Schema`` as its third field, whose
    third field is the list of pairs.
    """
    buffer = _Flatbuffer(message[8:])
    schema = buffer.child(buffer.child(None, 0), 2)
    start = buffer.child(schema, 2)
    found = []
    for place in range(buffer.number("<I", start)):
        pair = buffer.follow(start + 4 + 4 * place)
        found.append((buffer.text(buffer.child(pair, 0)), buffer.text(buffer.child(pair, 1))))
    return found


class _Flatbuffer:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def number(self, form: str, place: int) -> int:
        found: int = struct.unpack_from(form, self._content, place)[0]
        return found

    def follow(self, place: int) -> int:
        """The position to which an offset points."""
        return place + self.number("<I", place)

    def child(self, table: int | None, place: int) -> int:
        """The position to which a field of a table points; without a table, that of the root."""
        if table is None:
            return self.follow(0)
        fields = table - self.number("<i", table)
        slot = 4 + 2 * place
        if slot >= self.number("<H", fields):
            raise Unfit
        offset = self.number("<H", fields + slot)
        if not offset:
            raise Unfit
        return self.follow(table + offset)

    def text(self, start: int) -> str:
        length = self.number("<I", start)
        return self._content[start + 4 : start + 4 + length].decode()
