"""Editor support: types that mypy and pyright check in a user's program, and examples."""

import inspect
import runpy
from pathlib import Path

import pytest

import partita as pt
from partita.readable import Readable

PROGRAM = Path(__file__).parent / "typed" / "program.py"


def test_the_checked_program_runs(capsys):
    runpy.run_path(str(PROGRAM), run_name="__main__")
    assert capsys.readouterr().out == "NotFound\n"


@pytest.mark.parametrize(
    "kind",
    [
        pt.Table,
        pt.Collection,
        pt.CollectionScan,
        pt.View,
        pt.Scan,
        pt.Index,
        pt.Transaction,
        pt.Query,
        Readable,
    ],
)
def test_every_method_has_an_example(kind):
    methods = [
        name
        for name, member in vars(kind).items()
        if not name.startswith("_") and callable(getattr(kind, name)) and member.__doc__
    ]
    assert methods
    without = [name for name in methods if ">>>" not in inspect.getdoc(getattr(kind, name))]
    assert without == []
