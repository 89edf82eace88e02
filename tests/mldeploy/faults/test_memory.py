"""The memory limit of a service is hit: in `init`, which ends the service, and in `run`, which does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mldeploy import LocalWebservice
from mldeploy.errors import WebserviceException

Deploy = Callable[..., LocalWebservice]
LIMIT = LocalWebservice.deploy_configuration(memory_gb=0.125)
SAID = "out of memory: the limit is 0.125 GB"


def test_in_init(deploy: Deploy, script: Path) -> None:
    script.write_text("def init():\n    bytearray(400_000_000)\n\ndef run(data):\n    return data\n")
    service = deploy(deployment_config=LIMIT)
    with pytest.raises(WebserviceException, match=SAID):
        service.wait_for_deployment()
    assert service.state == "Failed"
    assert service.error is not None
    assert service.error["details"] == [{"code": "OutOfMemory", "message": SAID}]

    script.write_text("def init():\n    pass\n\ndef run(data):\n    return data\n")
    service.reload(wait=True)
    assert service.error is None


def test_in_run(deploy: Deploy, script: Path) -> None:
    script.write_text("def init():\n    pass\n\ndef run(data):\n    return len(bytearray(int(data)))\n")
    service = deploy(deployment_config=LIMIT)
    service.wait_for_deployment()
    with pytest.raises(WebserviceException, match=SAID):
        service.run("400000000")
    service.wait_for_deployment()  # its worker is replaced
    assert service.run("1000") == 1000
    assert SAID in service.get_logs()
    # newer engines tell it of a container that lives, too
    assert service.error is None or SAID in service.error["message"]
