"""Service records: who may begin an operation, and what becomes of one that was interrupted."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import psutil
import pytest

from mldeploy.errors import WebserviceException
from mldeploy.store.owners import alive, this_process
from mldeploy.store.services import ServiceRecord
from mldeploy.workspace import Workspace

Owner = dict[str, Any]


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process that was."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = {**this_process(), "pid": process.pid, "start_time": psutil.Process(process.pid).create_time()}
        process.communicate(b"\n")
    return owner


def test_a_record_is_read_as_it_was_written(ws: Workspace, service: ServiceRecord) -> None:
    full = replace(
        service,
        description="Ü",
        tags={"a": "b"},
        properties={"c": "d"},
        model_ids=("one:1", "two:2"),
        deployment_config={"computeType": "local", "port": None},
        error={"code": "x", "details": []},
        handle={"pid": 5},
    )
    assert ws.store.services.begin(full, overwrite=False) is None
    assert ws.store.services.get("dancer") == full
    done = replace(full, operation="Succeeded", owner=None, error=None)
    assert ws.store.services.change("dancer", lambda _: done) == done
    assert ws.store.services.list() == [done]
    ws.store.services.delete("dancer")
    assert ws.store.services.get("dancer") is None
    ws.store.services.delete("dancer")


def test_what_was_deleted_is_not_put_back(ws: Workspace, service: ServiceRecord) -> None:
    assert ws.store.services.change("dancer", lambda _: service) is None
    assert ws.store.services.list() == []


def test_an_operation_is_given_up_by_who_began_it(ws: Workspace, service: ServiceRecord) -> None:
    ws.store.services.begin(service, overwrite=False)
    ws.store.services.release("dancer", "another operation")
    assert ws.store.services.get("dancer") == service
    ws.store.services.release("dancer", service.operation_id)
    assert ws.store.services.get("dancer") is None
    ws.store.services.release("dancer", service.operation_id)


def test_one_operation_at_a_time(ws: Workspace, service: ServiceRecord) -> None:
    ws.store.services.begin(service, overwrite=False)
    with pytest.raises(WebserviceException, match="another operation is in progress") as caught:
        ws.store.services.begin(service, overwrite=True)
    assert caught.value.status_code == 409


def test_a_service_is_replaced_only_if_that_is_wanted(ws: Workspace, service: ServiceRecord) -> None:
    done = replace(service, operation="Succeeded", operation_id="first", owner=None, handle={"pid": 5})
    ws.store.services.begin(done, overwrite=False)
    newer = replace(service, model_ids=("net:2",), operation_id="second")
    with pytest.raises(WebserviceException, match="already a service with name dancer") as caught:
        ws.store.services.begin(newer, overwrite=False)
    assert caught.value.status_code == 409
    assert "--overwrite" in caught.value.hint
    assert ws.store.services.begin(newer, overwrite=True) == done
    # Until the new one runs, the record tells of the old one.
    found = ws.store.services.get("dancer")
    assert found == replace(done, operation="Running", operation_id="second", owner=service.owner)
    ws.store.services.release("dancer", "second")
    found = ws.store.services.get("dancer")
    assert found
    assert (found.handle, found.model_ids, found.owner) == ({"pid": 5}, ("net:1",), None)


def test_a_dead_deployment_is_taken_over(ws: Workspace, service: ServiceRecord, dead: Owner) -> None:
    ws.store.services.begin(replace(service, owner=dead), overwrite=False)
    ws.store.services.begin(service, overwrite=False)
    found = ws.store.services.get("dancer")
    assert found
    assert found.owner == this_process()


def test_of_two_at_once_one_wins(ws: Workspace, service: ServiceRecord) -> None:
    def begin(_: int) -> str:
        try:
            ws.store.services.begin(service, overwrite=False)
        except WebserviceException as error:
            return error.message
        return "won"

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(begin, range(8)))
    assert results.count("won") == 1
    assert sum("another operation is in progress" in result for result in results) == 7


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("changed", "since", "expected"),
    [
        pytest.param(lambda owner: owner, NOW, True, id="this one"),
        pytest.param(lambda owner: None, NOW, False, id="nobody"),
        pytest.param(lambda owner: {**owner, "start_time": 1.0}, NOW, False, id="its number given to another"),
        pytest.param(lambda owner: {**owner, "host": "far"}, NOW, True, id="elsewhere, just now"),
        pytest.param(lambda owner: {**owner, "host": "far"}, NOW - timedelta(hours=2), False, id="elsewhere, long ago"),
    ],
)
def test_who_is_alive(changed: Callable[[Owner], Owner | None], since: datetime, expected: bool) -> None:
    assert alive(changed(this_process()), since) is expected


def test_who_has_died_is_not_alive(dead: Owner) -> None:
    assert not alive(dead, NOW)
