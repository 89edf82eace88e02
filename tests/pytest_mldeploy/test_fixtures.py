"""What the fixtures give, what tests share, and what is gone afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mldeploy import Workspace

if TYPE_CHECKING:
    from tests.pytest_mldeploy.conftest import Project


def test_ids_name_the_target_and_only_tests_that_use_a_fixture_are_parametrised(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest

        @pytest.fixture
        def mine(mldeploy_workspace): return mldeploy_workspace.name

        def test_indirectly(mine): pass
        @pytest.mark.parametrize("number", [1, 2])
        def test_with_others(number, mldeploy_deploy): pass
        def test_alone(): pass
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "test_x.py::test_indirectly[[]local] PASSED*",
            "test_x.py::test_with_others[[]local-1] PASSED*",
            "test_x.py::test_with_others[[]local-2] PASSED*",
            "test_x.py::test_alone PASSED*",
        ]
    )


def test_tests_that_want_the_same_share_a_service(project: Project) -> None:
    project.write(
        other__json='{"entryScript": "./score.py"}',
        test_x__py="""
        import json
        import pytest

        seen = []

        @pytest.mark.mldeploy("ic.json", name="mine")
        def test_path(mldeploy_service):
            assert mldeploy_service.run({"a": 1}) == {"a": 1}
            seen.append(mldeploy_service.name)

        @pytest.mark.mldeploy({"entryScript": "score.py"}, deployment_config={"local": None}, timeout=100)
        def test_object(mldeploy_service): seen.append(mldeploy_service.name)

        @pytest.mark.mldeploy("ic.json", nan="null")
        def test_other_settings(mldeploy_service): seen.append(mldeploy_service.name)

        def test_all():
            first, same, other = seen
            assert first == same != other
            assert first.startswith("mine-") and other.startswith("pytest-")
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 deployed, none left"])


def test_a_shared_service_cannot_be_changed_one_of_its_own_can(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest
        from mldeploy import LocalWebservice

        @pytest.mark.mldeploy("ic.json")
        @pytest.mark.parametrize("change", ["update", "reload", "delete"])
        def test_shared(mldeploy_service, change):
            assert isinstance(mldeploy_service, LocalWebservice)
            with pytest.raises(Exception, match=r'share(.|\\n)*scope="function"'):
                getattr(mldeploy_service, change)()
            assert mldeploy_service.run(1) == 1

        @pytest.mark.mldeploy("ic.json", scope="function")
        def test_own(mldeploy_service):
            mldeploy_service.update(wait=True)
            assert mldeploy_service.run(2) == 2

        @pytest.mark.mldeploy("ic.json", scope="function")
        def test_deleted(mldeploy_service):
            mldeploy_service.delete()
        """
    )
    result = project.run()
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["3 deployed, none left"])


def test_a_service_of_a_module_ends_with_it(project: Project) -> None:
    text = """
    import pytest

    @pytest.mark.mldeploy("ic.json", scope="module")
    @pytest.mark.parametrize("number", [1, 2])
    def test_module(mldeploy_service, mldeploy_workspace, number):
        assert list(mldeploy_workspace.webservices) == [mldeploy_service.name]
    """
    project.write(test_x__py=text, test_y__py=text)
    result = project.run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 deployed, none left"])


def test_what_the_factory_deploys_ends_with_the_test(project: Project) -> None:
    project.write(
        test_x__py="""
        import pytest
        from mldeploy import InferenceConfig, LocalWebservice
        from mldeploy.errors import AzureMLException

        @pytest.fixture
        def twice(mldeploy_deploy):
            services = [
                mldeploy_deploy(InferenceConfig("score.py"), name="one"),
                mldeploy_deploy("ic.json", deployment_config=LocalWebservice.deploy_configuration()),
            ]
            yield services
            assert [service.state for service in services] == ["Healthy", "Healthy"]

        def test_two(twice):
            assert [service.run([3]) for service in twice] == [[3], [3]]
            assert twice[0].name != twice[1].name

        def test_none(mldeploy_workspace):
            assert mldeploy_workspace.webservices == {}

        def test_refused(mldeploy_deploy):
            with pytest.raises(AzureMLException, match="did you mean 'models'"):
                mldeploy_deploy("ic.json", modles=[])
        """
    )
    project.run().assert_outcomes(passed=3)


def test_models_are_registered_once_for_equal_content(project: Project) -> None:
    (project.path / "copy").mkdir()
    for path in ("my model.txt", "copy/my model.txt"):
        (project.path / path).write_text("0.5")
    (project.path / "other.txt").write_text("0.7")
    project.write(
        score__py="""
        import json, os
        from pathlib import Path

        def init():
            global files
            root = Path(os.environ["AZUREML_MODEL_DIR"])
            files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

        def run(data):
            return files
        """,
        test_x__py="""
        import pytest
        from mldeploy import Model

        def ids(service):
            return [model.id for model in service.models]

        @pytest.mark.mldeploy("ic.json", models=["my model.txt"])
        def test_list(mldeploy_service):
            assert mldeploy_service.run("") == ["my model.txt"]
            assert ids(mldeploy_service) == ["my-model:1"]

        @pytest.mark.mldeploy("ic.json", models={"my-model": "copy/my model.txt"})
        def test_equal(mldeploy_service):
            assert ids(mldeploy_service) == ["my-model:1"]

        @pytest.mark.mldeploy("ic.json", models={"my-model": "other.txt"})
        def test_another_version(mldeploy_service):
            assert ids(mldeploy_service) == ["my-model:2"]

        @pytest.mark.mldeploy("ic.json", models=["my-model:1", "other.txt"])
        def test_by_id(mldeploy_service, mldeploy_deploy, mldeploy_workspace):
            assert ids(mldeploy_service) == ["my-model:1", "other:1"]
            assert mldeploy_service.run("") == ["my-model/1/my model.txt", "other/1/other.txt"]
            assert ids(mldeploy_deploy("ic.json", models=[Model(mldeploy_workspace, "my-model")])) == ["my-model:2"]
        """,
    )
    project.run().assert_outcomes(passed=4)


def test_a_named_workspace_keeps_its_own(project: Project) -> None:
    workspace = Workspace.create("tests-of-the-plugin", exist_ok=True)
    project.write(
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_x(mldeploy_service, mldeploy_workspace):
            assert mldeploy_workspace.name == "tests-of-the-plugin"
            assert list(mldeploy_workspace.webservices) == [mldeploy_service.name]
        """
    )
    project.run("--mldeploy-workspace=tests-of-the-plugin").assert_outcomes(passed=1)
    assert workspace.webservices == {}


def test_the_throwaway_workspace_goes_with_what_tests_deployed_by_themselves(project: Project) -> None:
    project.write(
        test_x__py="""
        from pathlib import Path
        from mldeploy import InferenceConfig, Model

        def test_x(mldeploy_workspace):
            service = Model.deploy(mldeploy_workspace, "by-hand", [], InferenceConfig("score.py"))
            service.wait_for_deployment()
        """
    )
    project.run().assert_outcomes(passed=1)


def test_a_configuration_for_another_target_gives_way_and_the_report_says_so(project: Project) -> None:
    project.write(
        dc_aci__json='{"computeType": "ACI", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}}',
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json", deployment_config="dc_aci.json")
        def test_x(mldeploy_service): pass

        @pytest.mark.mldeploy("ic.json", deployment_config={"aci": "dc_aci.json"})
        def test_mapping(mldeploy_service): pass
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 deployed, none left", "dc_aci.json is for aci: on local its defaults were taken"])


def test_a_service_without_a_mark_says_what_is_missing(project: Project) -> None:
    project.write(test_x__py="def test_x(mldeploy_service): pass")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*mldeploy_service needs a mark: @pytest.mark.mldeploy("inferenceconfig.json")*'])


def test_a_test_that_needs_an_image_is_skipped_unless_docker_is_required(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        ic__json='{"entryScript": "score.py", "environment": {"docker": {"baseDockerfile": "FROM scratch"}}}',
        test_x__py="""
        import pytest

        @pytest.mark.mldeploy("ic.json")
        def test_x(mldeploy_service): pass
        """,
    )
    monkeypatch.setenv("DOCKER_HOST", f"unix://{project.path}/nobody.sock")
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs docker: *"])
    monkeypatch.setenv("MLDEPLOY_REQUIRE", "kind,docker")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*docker is required by MLDEPLOY_REQUIRE: *"])


def test_a_module_that_replaced_its_service_ends_both_once(project: Project) -> None:
    project.write(
        test_x__py="""
        import time
        import pytest
        import psutil

        @pytest.mark.mldeploy("ic.json", scope="module")
        @pytest.mark.parametrize("number", [1, 2])
        def test_x(mldeploy_service, number):
            assert mldeploy_service.run(number) == number
            if number == 1:
                for process in psutil.process_iter(["cmdline"]):
                    if any(mldeploy_service.name in word for word in process.info["cmdline"] or ()):
                        process.kill()
                deadline = time.monotonic() + 10
                while mldeploy_service.state != "Failed":
                    assert time.monotonic() < deadline
        """
    )
    result = project.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["2 deployed, none left"])


def test_the_factory_makes_services_of_the_tests_own_only(project: Project) -> None:
    project.write(
        test_x__py="""
        def test_own(mldeploy_deploy):
            assert mldeploy_deploy("ic.json", scope="function").run(1) == 1

        def test_shared(mldeploy_deploy):
            mldeploy_deploy("ic.json", scope="session")
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*scope='session' of a service that mldeploy_deploy makes*"])


def test_a_shared_service_that_died_is_deployed_again(project: Project) -> None:
    project.write(
        test_x__py="""
        import time
        import pytest
        import psutil

        names = []

        @pytest.mark.mldeploy("ic.json")
        @pytest.mark.parametrize("number", [1, 2])
        def test_x(mldeploy_service, number):
            assert mldeploy_service.run(number) == number
            names.append(mldeploy_service.name)
            if number == 1:
                for process in psutil.process_iter(["cmdline"]):
                    if any(mldeploy_service.name in word for word in process.info["cmdline"] or ()):
                        process.kill()
                deadline = time.monotonic() + 10
                while mldeploy_service.state != "Failed":
                    assert time.monotonic() < deadline

        def test_anew():
            assert len(set(names)) == 2
        """
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["2 deployed, none left", "*had failed by itself; it was deployed again"])
