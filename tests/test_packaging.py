"""The metadata of the installed wheel that a package index shows."""

import importlib.metadata
import re
from pathlib import Path

import pytest

METADATA = importlib.metadata.metadata("partita")
ROOT = Path(__file__).parents[1]


def test_the_readme_is_its_description():
    assert METADATA["Description-Content-Type"].startswith("text/markdown")
    title = (ROOT / "README.md").read_text().partition("\n")[0]
    # The description is the body or a field of the metadata, depending on the library version.
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


def test_the_workflow_runs_what_a_developer_runs():
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert re.search(r"^ +run: \.ci/run$", workflow, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    (rust,) = re.findall(
        r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE
    )
    assert set(re.findall(r"rust:([\d.]+)", workflow)) == {rust}
