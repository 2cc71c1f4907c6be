"""A day at an altimetry centre: import, index, smooth, lay a view over the collection, export.

python examples/altimetry_day [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from deliveries import write

import partita as pt


def main(folder: Path) -> None:
    write(folder / "in")

    # All files come in one commit. One is broken: it is left out and named.
    report = pt.import_files(
        folder / "ssh",
        folder / "in",
        partition_by="month",
        merge="time_series",
        chunks={"time": 1000},
        on_error="skip",
    )
    print(f"{len(report.imported)} files, {report.rows:,} rows, {len(report.commits)} commit")
    for file in report.failed:
        print(f"left out: {Path(file).name}")
    ssh = pt.open_collection(folder / "ssh")
    print("partitions:", *(partition.path for partition in ssh.partitions))

    # The transfer was repeated: only the file that is new is imported.
    (folder / "in" / "pass041.nc").unlink()
    again = pt.import_files(folder / "ssh", folder / "in", merge="time_series", skip_existing=True)
    print(f"again: {len(again.imported)} imported, {len(again.skipped)} known")

    # Rows are found by values.
    passes = ssh.build_index("pass_number", "passes.parquet")
    found = passes.query("pass_number == 12")
    one = ssh.read(rows=found, variables=["ssh"], decode=True)
    print(f"pass 12: {one.sizes['time']} rows, {int(one.ssh.isnull().sum())} values missing")

    # Partitions are worked on with rows of their neighbours. Functions get and return metres.
    smoothed = pt.Variable("smoothed", ("time", "pixel"), "f4", attributes={"units": "m"})
    view = pt.create_view(folder / "smoothed", ssh, [smoothed])

    def smooth(part: xr.Dataset) -> dict[str, xr.DataArray]:
        return {"smoothed": part.ssh.rolling(time=5, center=True, min_periods=1).mean()}

    view.update(smooth, variables=["ssh", "time"], depth_rows=2, decode=True)
    ranges = ssh.map_overlap(lambda part: float(part.ssh.max()), depth_rows=2, decode=True)
    print("highest:", *(f"{key[0]}-{key[1]:02d} {value:.3f}" for key, value in ranges.items()))

    # Both are read as one, and written as a file that others can read.
    day = view.read("time >= '2022-02-01' and time < '2022-02-02'", decode=True)
    day.to_netcdf(folder / "2022-02-01.nc")
    with xr.open_dataset(folder / "2022-02-01.nc") as exported:
        difference = float(np.abs(exported.smoothed - exported.ssh).max())
    print(
        f"exported {day.sizes['time']} rows; smoothing changed heights by {difference:.4f} at most"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
