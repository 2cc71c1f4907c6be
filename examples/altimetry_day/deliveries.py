"""Deliveries as an altimetry centre gets them: they overlap, have gaps, and one is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

__all__ = ["write"]

PASSES = 60
ROWS = 120
PIXELS = 6
START = np.datetime64("2022-01-20T00:00:00", "ns")
STEP = np.timedelta64(6, "h")
SECOND = np.timedelta64(1, "s")
BROKEN = 41


def write(folder: Path) -> list[Path]:
    """Write one file for each pass of the satellite; returns them in order.

    Heights are packed, and the packing changes when the processing does; the dimension has no
    limit, so that the files hold chunks of one row; each file repeats the last rows of the one
    before; some rows are missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"pass{number:03d}.nc", number) for number in range(PASSES)]


def _write(path: Path, number: int) -> Path:
    if number == BROKEN:
        path.write_bytes(b"CDF\x01 a transfer that was cut off")
        return path
    data = one_pass(number)
    packing = {
        "dtype": "i2",
        "scale_factor": 0.001 if number < 30 else 0.0005,
        "_FillValue": np.int16(-32768),
    }
    data.to_netcdf(path, unlimited_dims=["time"], encoding={"ssh": packing})
    return path


def one_pass(number: int) -> xr.Dataset:
    """The measurements of one pass, in metres."""
    random = np.random.default_rng(number)
    # Ten rows of the pass before come again, and every fifth pass has a gap.
    rows = np.arange(-10, ROWS)
    rows = rows[(rows < 40) | (rows > 60)] if number % 5 == 0 else rows
    time = START + number * STEP + rows * 180 * SECOND
    phase = (time - START) / np.timedelta64(1, "D")
    height = np.sin(phase)[:, None] + np.linspace(0, 0.1, PIXELS)
    height[random.random(height.shape) < 0.02] = np.nan
    return xr.Dataset(
        {
            "ssh": (("time", "pixel"), height, {"units": "m", "long_name": "sea surface height"}),
            "pass_number": ("time", np.full(time.size, number, "i2")),
            "across": ("pixel", np.linspace(-60, 60, PIXELS), {"units": "km"}),
        },
        {"time": time},
        {"title": "made-up along-track altimetry", "history": f"pass {number}"},
    )
