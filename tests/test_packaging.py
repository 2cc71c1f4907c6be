"""The metadata of the installed wheel that a package index shows."""

import importlib.metadata
import json
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


def test_it_lists_its_dependencies_with_their_licences():
    (listed,) = (
        f for f in importlib.metadata.files("partita") if f.match("sboms/*.cyclonedx.json")
    )
    components = json.loads(listed.read_text())["components"]
    assert all(component.get("licenses") for component in components)
    assert {"arrow", "object_store"} <= {component["name"] for component in components}


def test_the_conda_recipe_follows_the_package():
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text()
    (version,) = re.findall(r'^  version: "(.+)"$', recipe, re.MULTILINE)
    assert version == METADATA["Version"]
    for requirement in METADATA.get_all("Requires-Dist"):
        if "extra" not in requirement:
            assert f"    - {requirement.replace('>=', ' >=')}\n" in recipe


def test_a_crate_that_is_published_depends_on_versions():
    """Else cargo refuses to publish it; dependencies of tests alone may have none."""
    tomllib = pytest.importorskip("tomllib", reason="Python has it from 3.11 on")
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["dependencies"]
    for path in ROOT.glob("crates/*/Cargo.toml"):
        crate = tomllib.loads(path.read_text())
        if crate["package"].get("publish", True):
            assert crate["package"]["description"]
            for name in crate.get("dependencies", {}):
                given = workspace[name]
                assert isinstance(given, str) or "version" in given, f"{path}: {name}"


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
