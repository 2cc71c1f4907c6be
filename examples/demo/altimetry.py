"""Ten years of made-up altimetry: one satellite, 240 pixels across its track."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["PIXELS", "delivery"]

PIXELS = 240


def delivery(month: np.datetime64, *, overlap_days: int = 2, version: int = 1) -> xr.Dataset:
    """The measurements of a month, and of some days before it, which were delivered already."""
    start = month.astype("M8[D]") - overlap_days
    end = (month.astype("M8[M]") + 1).astype("M8[D]")
    time = np.arange(start, end, np.timedelta64(20, "m")).astype("M8[us]")
    random = np.random.default_rng(int(month.astype("M8[M]").astype(int)))
    phase = (time - np.datetime64("2015-01-01", "us")).astype("f8") / 86_400e6
    across = np.linspace(-1, 1, PIXELS, dtype="f4")
    season = np.cos(2 * np.pi * phase / 365.25)[:, None]
    swell = np.sin(2 * np.pi * phase / 9.9)[:, None] * np.cos(3 * across)
    noise = random.normal(0, 0.02, (time.size, PIXELS))
    ssh = (0.03 * phase[:, None] / 365.25 + 0.1 * season + 0.2 * swell + noise).astype("f4")
    swh = np.abs(2 + season + random.normal(0, 0.3, (time.size, PIXELS))).astype("f4")
    cycle = (phase // 9.9).astype("i4")
    return xr.Dataset(
        {
            "ssh": (("time", "pixel"), ssh.round(3), {"units": "m"}),
            "swh": (("time", "pixel"), swh.round(2), {"units": "m"}),
            "cycle": ("time", cycle),
            "offset": ("pixel", across * 60, {"units": "km"}),
        },
        {"time": time},
        {"title": "made-up along-track altimetry", "version": version},
    )
