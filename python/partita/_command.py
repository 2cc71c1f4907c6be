"""The ``partita`` command: the Rust one, and what needs xarray or DuckDB.

``partita import`` of files of arrays, ``partita read`` of a collection into NetCDF or Zarr, and
``partita sql`` are done here; everything else is left to the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

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


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    if _positional(arguments)[:1] == ["sql"]:
        arguments.remove("sql")
        sys.exit(_guarded(_sql, arguments))
    for command, ours, run in (("import", _imports_arrays, _import), ("read", _writes, _read)):
        if command in arguments and not {"--help", "-h"} & set(arguments):
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
    from partita.errors import CommitConflict, NotFound, PartitaError

    try:
        code: int | None = run(arguments)
    except KeyboardInterrupt:
        return 130
    except PartitaError as error:
        _tell(arguments, error.kind, str(error), error.context)
        return 3 if isinstance(error, NotFound) else 4 if isinstance(error, CommitConflict) else 1
    except (ImportError, OSError, ValueError) as error:
        kind = "Store" if isinstance(error, OSError) else "InvalidArgument"
        _tell(arguments, kind, str(error), {})
        return 1
    return code or 0


def _tell(arguments: Sequence[str], kind: str, message: str, context: Mapping[str, str]) -> None:
    """Says what failed, in the form of the engine's command."""
    if "--json" in arguments:
        described = {"kind": kind, "message": message, "context": dict(context)}
        print(json.dumps({"error": described}), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-O", "--option", action="append", default=[], metavar="KEY=VALUE", help="of the store"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def _options(given: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in given]
    return {name: value for name, _, value in pairs}


def _import(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="partita import", description="Import files of arrays into a collection."
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
        help="for a new collection: a part of the date of the axis, or integer variables",
    )
    parser.add_argument("--zarr", type=int, choices=(2, 3), help="for a new collection")
    parser.add_argument(
        "--chunk", action="append", default=[], metavar="DIM=N", help="for a new collection"
    )
    parser.add_argument(
        "--merge",
        choices=("replace", "concat", "time_series", "upsert"),
        help="how rows are merged with those that are there, and files with each other",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="files in one commit; all")
    parser.add_argument(
        "--fill", action="append", default=[], metavar="NAME=VALUE", help="for missing variables"
    )
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
    parser.add_argument(
        "--source-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the store of files given as URLs; those of --option if there are none",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read files")
    parser.add_argument("--single-writer", action="store_true", help="nobody else writes")
    _common(parser)
    _import_files(parser.parse_args(arguments))


def _import_files(given: argparse.Namespace) -> None:
    import partita as pt

    report = pt.import_files(
        given.url,
        given.files,
        axis=given.axis,
        partition_by=_partitioning(given.partition_by),
        merge=given.merge,
        batch=given.batch,
        chunks={name: _number(value) for name, value in _options(given.chunk).items()},
        zarr_format=given.zarr,
        groups=not given.no_groups,
        fill={name: _value(value) for name, value in _options(given.fill).items()},
        combine_attrs=given.combine_attrs,
        on_error=given.on_error,
        skip_existing=given.skip_existing,
        workers=given.workers,
        source_options=_options(given.source_option) or None,
        storage_options=_options(given.option),
        single_writer=given.single_writer,
        progress=sys.stderr.isatty() and not given.quiet,
    )
    for file, reason in report.failed.items():
        print(f"left out {file}: {reason.removeprefix(file + ': ')}", file=sys.stderr)
    if given.json:
        print(json.dumps(report.to_dict()))
        return
    commits = f" in {len(report.commits)} commits" if len(report.commits) != 1 else ""
    count = f"{len(report.imported)} files ({report.rows:,} rows)"
    print(f"imported {count}{commits} into {report.url}")
    for what, files in (("imported before", report.skipped), ("left out", report.failed)):
        if files:
            print(f"{what}: {len(files)} files")


def _partitioning(given: str | None) -> Any:
    import partita as pt

    if given is None or given in _RESOLUTIONS:
        return given
    return pt.Sequence(given.split(","))


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="partita read", description="Write a collection to a NetCDF file or a Zarr group."
    )
    parser.add_argument("url", help="the collection")
    parser.add_argument("-o", "--output", required=True, help="a name that ends in .nc or .zarr")
    parser.add_argument("-w", "--where", metavar="EXPR", help="such as \"time >= '2022-01-15'\"")
    parser.add_argument("--columns", "--variables", metavar="A,B", help="which variables")
    _common(parser)
    given = parser.parse_args(arguments)
    import partita as pt

    collection = pt.open(given.url, storage_options=_options(given.option), read_only=True)
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
    parser = argparse.ArgumentParser(
        prog="partita sql",
        description="Query a table in SQL, in which it is called t. DuckDB runs the query and "
        "reads the columns and rows that it needs. The result is shown as `partita read` shows "
        "rows.",
        epilog="Example: partita sql lake/trips 'select city, avg(fare) from t group by city'",
    )
    parser.add_argument("url", help="the table")
    parser.add_argument("query", help="one statement that gives rows, in the SQL of DuckDB")
    parser.add_argument("--at", metavar="VERSION", help="an older version, by number or time")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to this file: CSV, JSON lines or Parquet"
    )
    parser.add_argument("-f", "--format", choices=("table", "csv", "jsonl", "parquet"))
    parser.add_argument("-n", "--limit", metavar="N", help="show at most this many rows")
    parser.add_argument(
        "--explain", action="store_true", help="run it, and show what it read of the table instead"
    )
    _common(parser)
    given = parser.parse_args(arguments)
    import partita as pt

    at = int(given.at) if given.at is not None and given.at.isdigit() else given.at
    table = pt.open_table(given.url, at=at, storage_options=_options(given.option), read_only=True)
    query = table.sql(given.query)
    if given.explain:
        for _ in query.to_batches():
            pass
        if table.last_run is None:
            raise pt.InvalidArgument("the query reads nothing of the table")
        account = table.last_run.explain()
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
