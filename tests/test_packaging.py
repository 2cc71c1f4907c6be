"""What a package index shows of the installed wheel."""

import importlib.metadata
from pathlib import Path

import pytest

METADATA = importlib.metadata.metadata("partita")
ROOT = Path(__file__).parents[1]


def test_the_readme_is_its_description():
    assert METADATA["Description-Content-Type"].startswith("text/markdown")
    title = (ROOT / "README.md").read_text().partition("\n")[0]
    # The body of the metadata, or a field, by the version of the library that reads them.
    assert (METADATA["Description"] or METADATA.get_payload()).startswith(title)


def test_it_says_where_to_look():
    links = dict(line.split(", ", 1) for line in METADATA.get_all("Project-URL"))
    assert {"Documentation", "Repository", "Issues", "Changelog"} <= set(links)


def test_it_carries_its_licences():
    names = {Path(file).name for file in METADATA.get_all("License-File")}
    assert names == {"LICENSE-MIT", "LICENSE-APACHE"}
    assert METADATA["License-Expression"] == "MIT OR Apache-2.0"


@pytest.mark.parametrize("extra", ["dask", "netcdf", "pandas", "plot", "polars", "sql", "xarray"])
def test_the_extra_of_everything_has_each(extra):
    assert extra in METADATA.get_all("Provides-Extra")
    (everything,) = (
        r for r in METADATA.get_all("Requires-Dist") if 'extra == "all"' in r.replace("'", '"')
    )
    assert extra in everything.partition("[")[2].partition("]")[0].split(",")
