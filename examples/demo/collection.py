"""The second half of the demo: a collection of arrays, month by month."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import xarray as xr
from altimetry import delivery
from telling import timed, title

import partita as pt

__all__ = ["show_collection"]


def show_collection(url: str, years: int) -> None:
    """Creates, fills, reads, updates and plots a collection."""
    title("A collection of arrays")
    shutil.rmtree(url, ignore_errors=True)
    months = np.arange("2015-01", f"{2015 + years}-01", dtype="M8[M]")
    deliveries = (delivery(month) for month in months)
    first = next(deliveries)
    ssh = pt.create_collection(
        url, first, axis="time", partition_by=pt.Date("time", "month"), chunks={"time": 1024}
    )
    print(ssh)
    rows, spent = first.sizes["time"], 0.0
    for part in deliveries:
        began = time.perf_counter()
        ssh.insert(part, merge="time_series")
        spent += time.perf_counter() - began
        rows += part.sizes["time"]
    count = len(ssh.partitions)
    print(f"\ninserted {len(months)} deliveries, {rows:,} rows, in {spent:.1f} s")
    print(
        f"each brought two days again: {ssh.read(variables=['time']).sizes['time']:,} rows remain"
    )
    with timed(f"read one variable of {count} partitions"):
        series = ssh.read(variables=["ssh", "time"])
    with timed("read three days of it, by time") as note:
        days = ssh.read("time >= '2016-02-10' and time < '2016-02-13'", variables=["ssh", "time"])
        note(f"{days.sizes['time']} rows")
    ssh.add_variable("anomaly", ("time", "pixel"), "f4", fill_value=np.float32("nan"))

    def anomaly(part: xr.Dataset) -> dict[str, xr.DataArray]:
        smooth = part.ssh.rolling(time=25, center=True, min_periods=1).mean()
        return {"anomaly": part.ssh - smooth}

    with timed("worked out a variable from each partition and its neighbours, in one commit"):
        ssh.update(anomaly, variables=["ssh", "time"], depth_rows=12)
    _plot(series, Path(url).with_name("ssh.png"))
    print("\nthe last commits:")
    for commit in ssh.history()[:3]:
        print(f"  {commit}")


def _plot(series: xr.Dataset, path: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("install matplotlib to see a plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    monthly = series.ssh.mean("pixel").resample(time="1MS").mean()
    figure, axes = pyplot.subplots(figsize=(8, 3))
    monthly.plot(ax=axes)
    axes.set_title("mean sea surface height")
    figure.tight_layout()
    figure.savefig(path)
    print(f"plotted the monthly means: {path}")
