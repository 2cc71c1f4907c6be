"""Profiles of the AWS tools."""

from __future__ import annotations

import json

import pytest

import partita as pt
from s3_server import s3_server


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory without profiles, in an environment without AWS variables."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


def write(home, options, name="work"):
    (home / ".aws" / "credentials").write_text(
        f"[{name}]\naws_access_key_id = {options['access_key_id']}\n"
        f"aws_secret_access_key = {options['secret_access_key']}\n"
    )
    section = name if name == "default" else f"profile {name}"
    (home / ".aws" / "config").write_text(
        f"[{section}]\nregion = {options['region']}\nendpoint_url = {options['endpoint_url']}\n"
    )


def test_a_profile_says_how_to_reach_a_store(home, tmp_path, monkeypatch):
    with s3_server(tmp_path / "s3") as options:
        write(home, options)
        asked = pt.create_table(
            "s3://test/asked", {"a": [1, 2]}, storage_options={"profile": "work"}
        )
        assert asked.count() == 2
        monkeypatch.setenv("AWS_PROFILE", "work")
        assert pt.open_table("s3://test/asked").count() == 2
        # A profile named explicitly takes precedence over keys of the environment.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        assert pt.open_table("s3://test/asked", storage_options={"profile": "work"}).count() == 2
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_PROFILE")
        write(home, options, "default")
        assert pt.open_table("s3://test/asked").append({"a": [3]}).rows_added == 1


def test_a_profile_that_is_not_there_is_named(home, monkeypatch):
    with pytest.raises(pt.InvalidArgument, match=r"no such AWS profile.*other.*credentials"):
        pt.open_table("s3://test/t", storage_options={"profile": "other"})
    monkeypatch.setenv("AWS_PROFILE", "another")
    with pytest.raises(pt.InvalidArgument, match="another"):
        pt.open_table("s3://test/t", storage_options={"endpoint_url": "http://127.0.0.1:1"})


def offer_keys(home, monkeypatch, script):
    """A profile with single sign-on, and a program in the place of the AWS command line."""
    program = home / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_keys_of_single_sign_on_come_from_the_command_line_of_aws(home, tmp_path, monkeypatch):
    with s3_server(tmp_path / "s3") as options:
        (home / ".aws" / "config").write_text(
            f"[profile signed]\nsso_session = company\nregion = {options['region']}\n"
            f"endpoint_url = {options['endpoint_url']}\n"
        )
        keys = {
            "Version": 1,
            "AccessKeyId": options["access_key_id"],
            "SecretAccessKey": options["secret_access_key"],
        }
        script = f"echo \"$@\" >> {home}/asked; echo '{json.dumps(keys)}'"
        offer_keys(home, monkeypatch, script)
        signed = {"profile": "signed"}
        table = pt.create_table("s3://test/signed", {"a": [1, 2]}, storage_options=signed)
        assert table.append({"a": [3]}).rows_added == 1
        asked = (home / "asked").read_text().splitlines()
        assert set(asked) == {"configure export-credentials --format process --profile signed"}
        # An open table keeps its keys.
        assert table.count() == 3
        assert (home / "asked").read_text().splitlines() == asked


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo sign in again >&2; exit 255", "sign in again"), ("echo secret", "no JSON with keys")],
)
def test_why_there_are_no_keys_is_told(home, monkeypatch, script, told):
    (home / ".aws" / "config").write_text("[default]\nrole_arn = arn:aws:iam::1:role/reader\n")
    offer_keys(home, monkeypatch, script)
    options = {"endpoint_url": "http://127.0.0.1:1", "region": "r", "max_retries": "0"}
    with pytest.raises(pt.StoreError, match=told) as raised:
        pt.open_table("s3://test/t", storage_options=options)
    assert "secret" not in str(raised.value)
