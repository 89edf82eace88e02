"""A real engine, and our base image on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

    from mldeploy.images.base import BaseImage


@pytest.fixture(scope="session")
def client() -> DockerClient:
    """The machine's engine."""
    from mldeploy.engines.connection import connect
    from mldeploy.errors import EngineException

    try:
        return connect()
    except EngineException as error:
        if "docker" in os.environ.get("MLDEPLOY_REQUIRE", "").split(","):
            pytest.fail(f"docker is required by MLDEPLOY_REQUIRE: {error}")
        pytest.skip(f"no Docker engine: {error.message}")


@pytest.fixture(scope="session")
def base(client: DockerClient) -> BaseImage:
    """Our base image, made if it is not there."""
    from mldeploy.images.base import base

    return base(client)
