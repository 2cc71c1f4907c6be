"""Profiles of the AWS tools."""

from __future__ import annotations

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
