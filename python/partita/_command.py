"""The ``partita`` command: the Rust one, and what needs xarray.

``partita import`` of NetCDF files, and ``partita read`` of a collection into NetCDF or Zarr, are
done here; everything else is left to the engine.
"""

from __future__ import annotations

import argparse
import glob
import signal
import sys
from collections.abc import Sequence
from typing import Any

from partita import _native

_NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
_RESOLUTIONS = ("year", "month", "day", "hour", "minute", "second")


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    for command, run in (("import", _import), ("read", _read)):
        if command in arguments and _is_ours(command, arguments):
            sys.exit(_guarded(run, [a for a in arguments if a != command]))
    # The command listens to Ctrl-C itself; Python's handler would run after it and raise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.main(["partita", *arguments]))


def _is_ours(command: str, arguments: Sequence[str]) -> bool:
    if "--help" in arguments or "-h" in arguments:
        return False
    if command == "import":
        return any(a.lower().endswith(_NETCDF) for a in arguments)
    return any(a.rstrip("/").lower().endswith((*_NETCDF, ".zarr")) for a in arguments)


def _guarded(run: Any, arguments: Sequence[str]) -> int:
    from partita.errors import CommitConflict, NotFound, PartitaError

    try:
        run(arguments)
    except KeyboardInterrupt:
        return 130
    except PartitaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, NotFound) else 4 if isinstance(error, CommitConflict) else 1
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-O", "--option", action="append", default=[], metavar="KEY=VALUE", help="of the store"
    )


def _options(given: Sequence[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in given]
    return {name: value for name, _, value in pairs}


def _import(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="partita import", description="Insert NetCDF files into a collection."
    )
    parser.add_argument("url", help="the collection")
    parser.add_argument("files", nargs="+", help="NetCDF files; patterns such as 'in/*.nc'")
    parser.add_argument("--axis", default="time", help="the variable along which it grows")
    parser.add_argument(
        "--partition-by",
        metavar="month | cycle,pass",
        help="for a new collection: a part of the date of the axis, or integer variables",
    )
    parser.add_argument("--zarr", type=int, default=2, choices=(2, 3), help="for a new collection")
    parser.add_argument(
        "--merge",
        default="replace",
        choices=("replace", "concat", "time_series", "upsert"),
        help="how rows are merged with those that are there",
    )
    _common(parser)
    given = parser.parse_args(arguments)
    _import_files(given)


def _import_files(given: argparse.Namespace) -> None:
    import partita as pt
    from partita._arrow import optional
    from partita._progress import reporting

    xarray = optional("xarray", "reading NetCDF")
    found = [sorted(glob.glob(p, recursive=True)) or [p] for p in given.files]
    files = [path for paths in found for path in paths]
    options = _options(given.option)
    try:
        collection: Any = pt.open_collection(given.url, storage_options=options)
    except pt.NotFound:
        collection = None
    merge = None if given.merge == "replace" else given.merge
    with reporting(sys.stderr.isatty()) as report:
        for number, path in enumerate(files):
            # Times as they are stored, numbers packed as they are: nothing is lost on the way.
            with xarray.open_dataset(path, mask_and_scale=False) as data:
                data = data.load()
            if collection is None:
                collection = pt.create_collection(
                    given.url,
                    data,
                    axis=given.axis,
                    partition_by=_partitioning(given),
                    zarr_format=given.zarr,
                    insert=False,
                    storage_options=options,
                )
            collection.insert(data, merge=merge)
            if report is not None:
                report("import", number + 1, len(files))
    print(f"imported {len(files)} files into {collection.url}")


def _partitioning(given: argparse.Namespace) -> Any:
    import partita as pt

    if not given.partition_by:
        raise pt.InvalidArgument(
            "there is no collection yet; say how it is partitioned: --partition-by month"
        )
    if given.partition_by in _RESOLUTIONS:
        return pt.Date(given.axis, given.partition_by)
    return pt.Sequence(given.partition_by.split(","))


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
    data = collection.read(given.where, variables=variables, progress=sys.stderr.isatty())
    has_groups = hasattr(data, "subtree")
    plain = (
        data.map_over_datasets(lambda ds: ds.drop_encoding())
        if has_groups
        else data.drop_encoding()
    )
    if given.output.rstrip("/").endswith(".zarr"):
        plain.to_zarr(given.output, mode="w-")
    else:
        plain.to_netcdf(given.output)
    rows = data.sizes.get(collection.dimension, 0)
    print(f"wrote {rows:,} rows to {given.output}")


if __name__ == "__main__":
    main()
