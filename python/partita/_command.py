"""The ``partita`` command: the Rust one, and what needs xarray or DuckDB.

``partita import`` of files of arrays, ``partita read`` of a collection into NetCDF or Zarr, and
``partita sql`` are done here; everything else is left to the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from partita import _native

_OUTPUTS = (".nc", ".nc4", ".cdf", ".netcdf", ".zarr")
_RESOLUTIONS = ("year", "month", "day", "hour", "minute", "second")
# Options that take no value. Behind any other option, the next argument is its value.
_FLAGS = (
    "--json",
    "--quiet",
    "-q",
    "--single-writer",
    "--no-groups",
    "--skip-existing",
    "--explain",
    "--help",
    "-h",
)
# The exit codes of errors by their kinds, as those of the engine's command.
_CODES = {"NotFound": 3, "CommitConflict": 4, "StagedExpired": 4, "Interrupted": 130}


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    asks_help = bool({"--help", "-h"} & set(arguments))
    if _positional(arguments)[:1] == ["sql"] and not asks_help:
        arguments.remove("sql")
        sys.exit(_guarded(_sql, arguments))
    for command, ours, run in (("import", _imports_arrays, _import), ("read", _writes, _read)):
        if command in arguments and not asks_help:
            others = list(arguments)
            others.remove(command)
            if ours(others):
                sys.exit(_guarded(run, others))
    # The command handles Ctrl-C itself; Python's handler would run after it and raise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.main(["partita", *arguments]))


def _imports_arrays(arguments: Sequence[str]) -> bool:
    """Whether a file to import holds arrays; the first positional argument is the dataset."""
    from partita.importing._sources import holds_arrays

    return any(holds_arrays(name) for name in _positional(arguments)[1:])


def _positional(arguments: Sequence[str]) -> list[str]:
    found, is_value = [], False
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            is_value = "=" not in argument and argument not in _FLAGS
        elif is_value:
            is_value = False
        else:
            found.append(argument)
    return found


def _writes(arguments: Sequence[str]) -> bool:
    """Whether the output is a file of arrays."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    outputs = [value for option, value in pairs if option in ("-o", "--output")]
    outputs += [a.partition("=")[2] for a in arguments if a.startswith("--output=")]
    return any(name.rstrip("/").lower().endswith(_OUTPUTS) for name in outputs)


def _guarded(run: Any, arguments: Sequence[str]) -> int:
    from partita.errors import PartitaError

    try:
        code: int | None = run(arguments)
    except KeyboardInterrupt as interrupt:
        made = ", ".join(map(str, getattr(interrupt, "committed", ())))
        what = "interrupted after the commit was made" if made else "interrupted"
        _tell(arguments, "Interrupted", what, {"commit": made} if made else {})
        return 130
    except PartitaError as error:
        _tell(arguments, error.kind, str(error), error.context)
        return _CODES.get(error.kind, 1)
    except Exception as error:
        if os.environ.get("PARTITA_DEBUG"):
            raise
        _tell(arguments, *_described(error), {})
        return 1
    return code or 0


def _described(error: Exception) -> tuple[str, str]:
    """The kind of an error of another library, and its text."""
    if isinstance(error, OSError):
        return "Store", _native.masked(str(error))
    if isinstance(error, (ImportError, ValueError)):
        return "InvalidArgument", _native.masked(str(error))
    text = _native.masked(f"the command failed unexpectedly: {type(error).__name__}: {error}")
    return "Internal", f"{text}; PARTITA_DEBUG=1 shows where"


def _tell(arguments: Sequence[str], kind: str, message: str, context: Mapping[str, str]) -> None:
    """Says what failed, in the form of the engine's command."""
    if "--json" in arguments:
        described = {"kind": kind, "message": message, "context": dict(context)}
        print(json.dumps({"error": described}), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors of the arguments as the engine's command does."""

    def __init__(self, arguments: Sequence[str], **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._given = arguments

    def error(self, message: str) -> NoReturn:
        if "--json" not in self._given:
            super().error(message)
        _tell(self._given, "Usage", message, {})
        self.exit(2)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _pairs(parser: argparse.ArgumentParser, *names: str, metavar: str, help: str) -> None:
    """Adds an option that may be given several times."""
    parser.add_argument(*names, action="append", default=[], type=_pair, metavar=metavar, help=help)


def _common(parser: argparse.ArgumentParser) -> None:
    _pairs(parser, "-O", "--option", metavar="KEY=VALUE", help="of the store")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def _import(arguments: Sequence[str]) -> int:
    parser = _Parser(
        arguments,
        prog="partita import",
        description="Import files of arrays into a collection.",
    )
    parser.add_argument("url", help="the collection")
    parser.add_argument(
        "files",
        nargs="+",
        help="NetCDF, HDF5 and Zarr: files, folders, patterns such as 'in/*.nc', URLs",
    )
    parser.add_argument("--axis", help="the variable along which a new collection grows; time")
    parser.add_argument(
        "--partition-by",
        metavar="month | cycle,pass",
        help="for a new collection: a part of the date of the axis, or of another variable, as in "
        "month(measured), or integer variables",
    )
    parser.add_argument("--zarr", type=int, choices=(2, 3), help="for a new collection")
    _pairs(parser, "--chunk", metavar="DIM=N", help="for a new collection")
    parser.add_argument(
        "--merge",
        choices=("replace", "concat", "time_series", "upsert"),
        help="how rows are merged with those that are there, and files with each other",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="files in one commit; all")
    _pairs(parser, "--fill", metavar="NAME=VALUE", help="for missing variables")
    parser.add_argument(
        "--combine-attrs",
        default="override",
        choices=("override", "drop", "identical", "no_conflicts", "drop_conflicts"),
        help="what a new collection has of attributes that differ",
    )
    parser.add_argument("--no-groups", action="store_true", help="leave out groups of the files")
    parser.add_argument("--on-error", default="raise", choices=("raise", "skip"))
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave out files that were imported before"
    )
    _pairs(
        parser,
        "--source-option",
        metavar="KEY=VALUE",
        help="of the store of files given as URLs; those of --option if there are none",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read files")
    parser.add_argument("--single-writer", action="store_true", help="nobody else writes")
    _common(parser)
    return _import_files(parser.parse_args(arguments))


def _import_files(given: argparse.Namespace) -> int:
    import partita as pt

    report = pt.import_files(
        given.url,
        given.files,
        axis=given.axis,
        partition_by=_partitioning(given.partition_by),
        merge=given.merge,
        batch=given.batch,
        chunks={name: _number(value) for name, value in dict(given.chunk).items()},
        zarr_format=given.zarr,
        groups=not given.no_groups,
        fill={name: _value(value) for name, value in dict(given.fill).items()},
        combine_attrs=given.combine_attrs,
        on_error=given.on_error,
        skip_existing=given.skip_existing,
        workers=given.workers,
        source_options=dict(given.source_option) or None,
        storage_options=dict(given.option),
        single_writer=given.single_writer,
        progress=sys.stderr.isatty() and not given.quiet,
    )
    for file, reason in report.failed.items():
        print(f"left out {file}: {reason.removeprefix(file + ': ')}", file=sys.stderr)
    # A job of which no file fits has failed.
    code = int(bool(report.failed) and not report.imported)
    if given.json:
        print(json.dumps(report.to_dict()))
        return code
    commits = f" in {len(report.commits)} commits" if len(report.commits) != 1 else ""
    count = f"{len(report.imported)} files ({report.rows:,} rows)"
    print(f"imported {count}{commits} into {report.url}")
    for what, files in (("imported before", report.skipped), ("left out", report.failed)):
        if files:
            print(f"{what}: {len(files)} files")
    return code


def _partitioning(given: str | None) -> Any:
    import partita as pt

    if given is None or given in _RESOLUTIONS:
        return given
    part = re.fullmatch(rf"({'|'.join(_RESOLUTIONS)})\((.+)\)", given)
    if part is not None:
        resolution: Any = part[1]
        return pt.Date(part[2].strip(), resolution)
    return pt.Sequence([name.strip() for name in given.split(",")])


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(arguments: Sequence[str]) -> None:
    parser = _Parser(
        arguments,
        prog="partita read",
        description="Write a collection to a NetCDF file or a Zarr group.",
    )
    parser.add_argument("url", help="the collection")
    parser.add_argument("-o", "--output", required=True, help="a name that ends in .nc or .zarr")
    parser.add_argument("-w", "--where", metavar="EXPR", help="such as \"time >= '2022-01-15'\"")
    parser.add_argument("--columns", "--variables", metavar="A,B", help="which variables")
    _common(parser)
    given = parser.parse_args(arguments)
    import partita as pt

    collection = pt.open(given.url, storage_options=dict(given.option), read_only=True)
    if not isinstance(collection, pt.Collection):
        raise pt.InvalidArgument("only collections and views are written to such files")
    variables = given.columns.split(",") if given.columns else None
    watched = sys.stderr.isatty() and not given.quiet
    data = collection.read(given.where, variables=variables, progress=watched)
    plain = data.map_over_datasets(_for_file) if hasattr(data, "subtree") else _for_file(data)
    if given.output.rstrip("/").lower().endswith(".zarr"):
        plain.to_zarr(given.output, mode="w-")
    else:
        plain.to_netcdf(given.output)
    rows = data.sizes.get(collection.dimension, 0)
    if given.json:
        print(json.dumps({"output": os.path.abspath(given.output), "rows": rows}))
    else:
        print(f"wrote {rows:,} rows to {given.output}")


def _sql(arguments: Sequence[str]) -> int:
    # The engine's command has the help of these.
    parser = _Parser(arguments, prog="partita sql")
    parser.add_argument("url")
    parser.add_argument("query")
    parser.add_argument("--at")
    parser.add_argument("-o", "--output")
    parser.add_argument("-f", "--format", choices=("table", "csv", "jsonl", "parquet"))
    parser.add_argument("-n", "--limit")
    parser.add_argument("--variables")
    parser.add_argument("--explain", action="store_true")
    _common(parser)
    given = parser.parse_args(arguments)
    import partita as pt

    at = int(given.at) if given.at is not None and given.at.isdigit() else given.at
    opened = pt.open(given.url, at=at, storage_options=dict(given.option), read_only=True)
    rows: pt.Table | pt.CollectionScan
    if isinstance(opened, pt.Collection):
        rows = opened.scan(given.variables.split(",") if given.variables else None)
    elif given.variables:
        raise pt.InvalidArgument("--variables is for collections, and this is a table")
    else:
        rows = opened
    query = rows.sql(given.query)
    if given.explain:
        for _ in query.to_batches():
            pass
        if rows.last_run is None:
            raise pt.InvalidArgument(f"the query reads nothing of {given.url}")
        account = rows.last_run.explain()
        print(json.dumps(account.details) if given.json else account)
        return 0
    # The engine's command knows how rows are shown and written.
    result = "memory://partita-sql/result"
    pt.create_table(result, query.to_arrow())
    shown = [f"--{name}={getattr(given, name)}" for name in ("output", "format", "limit")
             if getattr(given, name) is not None]  # fmt: skip
    return _native.main(["partita", "read", result, *shown, *(["--json"] if given.json else [])])


def _for_file(data: Any) -> Any:
    """The dataset as it is written to a file: numbers as they are stored, with what decodes them.

    How the collection compresses and cuts them says nothing of the file. Values that were stored
    decoded are written so, since packing them could change them.
    """
    from partita._xarray import without_times

    found = data.drop_encoding()
    for name, variable in data.variables.items():
        fill = variable.encoding.get("_FillValue")
        if fill is None or "scale_factor" in variable.encoding or "dtype" in variable.encoding:
            continue
        if variable.dtype.kind in "iufc":
            found[name].encoding["_FillValue"] = fill
        elif variable.dtype.kind in "mM" and name not in found.indexes:
            found[name] = found[name].copy(data=without_times(variable.values, fill))
    return found


if __name__ == "__main__":
    main()
