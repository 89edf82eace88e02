"""Environments and their locks, as recorded."""

from mldeploy.workspace import Workspace


def test_an_unchanged_environment_keeps_its_version(ws: Workspace) -> None:
    table = ws.store.environments
    first = table.register("sklearn", {"name": "sklearn", "version": None, "python": "3.11"})
    assert first.version == "1"
    assert table.register("sklearn", {"name": "sklearn", "version": "1", "python": "3.11"}) == first
    assert table.register("sklearn", {"name": "sklearn", "python": "3.12"}).version == "2"
    assert table.register("other", {}).version == "1"
    assert [(one.name, one.version) for one in table.list()] == [("other", "1"), ("sklearn", "2"), ("sklearn", "1")]
    assert table.get("sklearn", "1") == first
    latest = table.get("sklearn")
    assert latest
    assert latest.definition["python"] == "3.12"
    assert table.get("sklearn", "7") is None
    assert table.get("unknown") is None


def test_the_users_own_version_is_overwritten(ws: Workspace) -> None:
    table = ws.store.environments
    table.register("sklearn", {"python": "3.10"}, "stable")
    table.register("sklearn", {"python": "3.11"}, "stable")
    assert [(one.version, one.definition) for one in table.list()] == [("stable", {"python": "3.11"})]


def test_a_lock_is_kept_and_replaced(ws: Workspace) -> None:
    locks = ws.store.locks
    assert locks.get("sha") is None
    locks.put("sha", "numpy==1")
    locks.put("sha", "numpy==2")
    assert locks.get("sha") == "numpy==2"
