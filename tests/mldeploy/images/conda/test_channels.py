"""Channels as they are written, and the URLs that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from mldeploy.errors import EnvironmentException
from mldeploy.images.conda.channels import Channel, channel, settings, sources


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("conda-forge", "https://conda.anaconda.org/conda-forge"),
        ("conda-forge/label/dev", "https://conda.anaconda.org/conda-forge/label/dev"),
        ("https://host.example/team/", "https://host.example/team"),
        ("file:///srv/channel", "file:///srv/channel"),
        ("/srv/channel", "file:///srv/channel"),
    ],
)
def test_a_name_is_below_the_usual_place_and_a_url_is_itself(written: str, url: str) -> None:
    assert channel(written, {}).urls == (url,)


def test_defaults_are_two_channels_of_one_priority() -> None:
    assert len(channel("defaults", {}).urls) == 2
    own = {"default_channels": ["https://mirror.example/main", "r"], "channel_alias": "https://mirror.example/"}
    assert channel("defaults", own).urls == ("https://mirror.example/main", "https://mirror.example/r")


def test_the_order_is_kept_and_nodefaults_is_no_channel() -> None:
    found = sources(["nodefaults", "ours", "conda-forge", "ours"], {"channel_alias": "https://host.example/conda"})
    assert [one.name for one in found] == ["ours", "conda-forge"]


def test_without_channels_those_of_the_users_conda_count() -> None:
    assert sources([], {}) == (Channel("conda-forge", ("https://conda.anaconda.org/conda-forge",)),)
    assert sources([], {"channels": ["bioconda"]})[0].name == "bioconda"


def test_the_users_settings_are_read(own_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings() == {}
    (own_settings / ".condarc").write_text(
        "channel_alias: https://host.example\ncustom_channels: {ours: https://a.example}\n"
    )
    (own_settings / ".conda").mkdir()
    (own_settings / ".conda" / ".condarc").write_text("channel_alias: https://second.example\nchannels: [ours]\n")
    found = settings()
    assert sources([], found) == (Channel("ours", ("https://a.example/ours",)),)
    assert channel("team", found).urls == ("https://host.example/team",)
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", "https://third.example")
    assert channel("team", settings()).urls == ("https://third.example/team",)


def test_settings_that_are_no_yaml_are_refused_by_name(own_settings: Path) -> None:
    (own_settings / ".condarc").write_text("channels: [")
    with pytest.raises(EnvironmentException, match="conda's settings") as caught:
        settings()
    assert caught.value.where.endswith(".condarc")


@pytest.mark.parametrize("written", ["https://me:s3cr3tpw@host.example/team", "https://host.example/t/s3cr3tpw/team"])
def test_credentials_are_refused_and_not_told(written: str) -> None:
    with pytest.raises(EnvironmentException, match="has credentials in it") as caught:
        sources([written], {})
    assert "s3cr3tpw" not in str(caught.value)
    assert "netrc" in caught.value.hint
