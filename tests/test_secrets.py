"""Passwords and keys stand in nothing that is shown, kept or sent, unless they are to be sent."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

import partita as pt
from command import run
from scripted_s3 import scripted_s3

SECRET = "SEKRET-4711"
NOWHERE = {"max_retries": "0", "retry_timeout": "1s", "connect_timeout": "1s"}
S3 = {"endpoint_url": "http://127.0.0.1:9", "access_key_id": "a", "secret_access_key": SECRET}
ROWS = {"time": ("time", np.arange(4).astype("M8[D]").astype("M8[us]")), "v": ("time", np.ones(4))}

PLACES = {
    "web": (f"http://user:{SECRET}@127.0.0.1:9/lake/t", {}),
    "web, with a slash": (f"http://user:a/{SECRET}@127.0.0.1:9/lake/t", {}),
    "web, with a comma": (f"http://user:a,{SECRET}@127.0.0.1:9/lake/t", {}),
    "web, with a token": (f"http://127.0.0.1:9/lake/t?token={SECRET}", {}),
    "bucket": (f"s3://user:{SECRET}@lake/t", S3),
    "bucket, with a slash": (f"s3://user:a/{SECRET}@lake/t", S3),
    "bucket of Google": (f"gs://user:{SECRET}@lake/t", {}),
    "repository": (f"icechunk+s3://user:{SECRET}@lake/t", S3),
    "endpoint": ("s3://lake/t", {**S3, "endpoint_url": f"http://user:{SECRET}@127.0.0.1:9"}),
    "proxy": ("s3://lake/t", {**S3, "proxy_url": f"http://user:{SECRET}@127.0.0.1:9"}),
    "token": ("s3://lake/t", {**S3, "session_token": SECRET}),
    "token with a line break": ("s3://lake/t", {**S3, "session_token": f"{SECRET}\n"}),
    "key of Azure": ("az://lake/t", {"account_name": "a", "account_key": SECRET}),
    "signature of Azure": ("az://lake/t", {"account_name": "a", "sas_token": f"sig={SECRET}"}),
    "key of Google": ("gs://lake/t", {"service_account_key": f'{{"private_key": "{SECRET}"'}),
    "unknown option": ("s3://lake/t", {**S3, "colour": "red", "token": SECRET}),
    "unknown scheme": (f"ftp://user:{SECRET}@host/t", {}),
}


@pytest.mark.parametrize("name", PLACES)
def test_errors(name: str, caplog: pytest.LogCaptureFixture) -> None:
    url, options = PLACES[name]
    if not url.startswith("ftp"):
        options = {**NOWHERE, **options}
    for use in (pt.open, pt.open_table, pt.open_collection, pt.ls, pt.rebuild):
        with pytest.raises(pt.PartitaError) as raised:
            use(url, storage_options=options)
        error = raised.value
        assert error.kind != "Internal"
        assert SECRET not in f"{error} {error!r} {error.context} {error.__cause__!r}"
        assert SECRET not in repr(pickle.loads(pickle.dumps(error)))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("name", ["web", "bucket, with a slash", "endpoint", "token"])
@pytest.mark.parametrize("words", [["read"], ["import", "{file}"], ["sql", "select 1"]])
def test_the_command(tmp_path: Path, name: str, words: list[str]) -> None:
    url, options = PLACES[name]
    (tmp_path / "a.nc").write_bytes(b"CDF\x01" + bytes(3))
    verb, *rest = (word.format(file=tmp_path / "a.nc") for word in words)
    given = [part for item in {**NOWHERE, **options}.items() for part in ("-O", "=".join(item))]
    for form in ([], ["--json"]):
        done = run(verb, url, *rest, *given, *form, code=1)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_errors_that_are_made_in_python() -> None:
    error = pt.NotFound(f"no http://u:{SECRET}@host/f.nc", context={"file": f"s3://u:{SECRET}@b/f"})
    assert str(error) == "no http://***@host/f.nc"
    assert error.context == {"file": "s3://***@b/f"}


def test_the_environment(tmp_path: Path) -> None:
    program = (
        "import partita as pt\ntry: pt.open('s3://b/t')\nexcept pt.PartitaError as e: print(e)"
    )
    environment = {
        "AWS_ENDPOINT_URL": f"http://user:{SECRET}@127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": f"{SECRET}\n",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_pickles_without_credentials() -> None:
    with scripted_s3() as s3:
        options = {**s3.options(), "secret_access_key": SECRET}
        pt.create_table("s3://test/t", {"a": [1]}, index=["a"], storage_options=options)
        made = pt.create_collection(
            "s3://test/c",
            ROWS,
            axis="time",
            partition_by=pt.Date("time", "day"),
            zarr_format=3,
            storage_options=options,
        )
        made.build_index("v", "v.parquet")
        pt.create_view("s3://test/v", made, [pt.Variable("w", ("time",), "f4")],
                       storage_options=options)  # fmt: skip
        how = {"storage_options": options, "pickle_credentials": False}
        table = pt.open_table("s3://test/t", **how)
        collection = pt.open_collection("s3://test/c", **how)
        carried = [
            table,
            table.at(1),
            table.scan(where="a == 1"),
            table.stage({"a": [2]}),
            collection,
            collection.at(1),
            pt.open_index("v.parquet", collection),
            pt.open_index("v.parquet", collection).query("v == 1"),
            pt.open_view("s3://test/v", **how),
            pt.open("s3://test/v", **how),
        ]
        for one in carried:
            pickled = pickle.dumps(one)
            assert SECRET.encode() not in pickled, one
            assert SECRET not in repr(one)
        assert SECRET.encode() in pickle.dumps(pt.open("s3://test/t", storage_options=options))


def test_pickles_leave_out_passwords_of_urls_too() -> None:
    from partita._credentials import WithoutSecrets, carried

    options = WithoutSecrets(
        {"endpoint_url": f"http://user:{SECRET}@host:9000", "region": "r", "secret": SECRET}
    )
    assert pickle.loads(pickle.dumps(options)) == {
        "endpoint_url": "http://host:9000",
        "region": "r",
    }
    url = f"http://user:{SECRET}@host/lake/t"
    assert carried(url, options) == "http://host/lake/t"
    assert carried(url, dict(options)) == url


def test_what_is_pickled_as_it_is_keeps_no_promise(tmp_path: Path) -> None:
    pt.create_table(tmp_path / "t", {"a": [1]})
    local = fsspec.filesystem("file")
    with pytest.raises(pt.InvalidArgument, match="pickle_credentials"):
        pt.open(str(tmp_path / "t"), filesystem=local, pickle_credentials=False)


def test_tasks_name_passwords_of_endpoints() -> None:
    from partita._credentials import referenced

    with pytest.raises(pt.InvalidArgument, match="is a secret") as raised:
        referenced({"endpoint_url": f"http://user:{SECRET}@host:9000"})
    assert SECRET not in str(raised.value)
