"""The names of types: the same in the representations of Python and in the command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from partita._arrow import pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["array_type_name", "column_type_name"]

_KINDS = {
    "b": "bool",
    "i": "int",
    "u": "uint",
    "f": "float",
    "c": "complex",
    "m": "timedelta",
    "M": "datetime",
}
# Names of pyarrow that say more than a user has to know, or that differ from those of the command.
_PLAIN = {
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "large_string": "string",
    "string_view": "string",
    "large_binary": "binary",
    "binary_view": "binary",
    "date32[day]": "date",
    "date64[ms]": "date",
}


def array_type_name(dtype: str) -> str:
    """The name of a numpy type, given its array-protocol code: ``float64`` for ``<f8``.

    Examples
    --------
    >>> array_type_name("<f8"), array_type_name("<M8[us]"), array_type_name(">i2")
    ('float64', 'datetime64[us]', 'int16, big-endian')
    >>> array_type_name("<U5")
    '<U5'
    """
    parts = re.fullmatch(r"[<>|=]?([biufcmM])(\d+)(\[.*\])?", dtype)
    if parts is None:
        return dtype
    kind, size, unit = parts[1], int(parts[2]), parts[3] or ""
    swapped = ", big-endian" if dtype.startswith(">") else ""
    return f"{_KINDS[kind]}{'' if kind == 'b' else 8 * size}{unit}{swapped}"


def column_type_name(kind: pa.DataType) -> str:
    """The name of the type of a column, as ``partita schema`` shows it.

    Examples
    --------
    >>> import pyarrow as pa
    >>> column_type_name(pa.large_string()), column_type_name(pa.decimal128(10, 2))
    ('string', 'decimal(10, 2)')
    >>> column_type_name(pa.list_(pa.float64())), column_type_name(pa.time64("us"))
    ('list<float64>', 'time[us]')
    >>> column_type_name(pa.dictionary(pa.int32(), pa.string()))
    'category'
    """
    types: Any = pyarrow().types
    if types.is_dictionary(kind):
        inner = column_type_name(kind.value_type)
        return "category" if inner == "string" else f"category<{inner}>"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"list<{column_type_name(kind.value_type)}>"
    if types.is_fixed_size_list(kind):
        return f"fixed_size_list<{column_type_name(kind.value_type)}>[{kind.list_size}]"
    if types.is_map(kind):
        return f"map<{column_type_name(kind.key_type)}, {column_type_name(kind.item_type)}>"
    if types.is_struct(kind):
        fields = (kind.field(place) for place in range(kind.num_fields))
        inner = ", ".join(f"{field.name}: {column_type_name(field.type)}" for field in fields)
        return f"struct<{inner}>"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if types.is_time(kind):
        return f"time[{kind.unit}]"
    name = str(kind)
    return _PLAIN.get(name, name)
