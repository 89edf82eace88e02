"""Entry scripts that cannot be served, and where scripts and modules are looked for."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from mldeploy_serving.entry.script import load
from mldeploy_serving.settings import Settings, StartError

if TYPE_CHECKING:
    from tests.mldeploy_serving.conftest import Serve

INIT = "def init(): pass\n"
RUN = "def run(data): pass\n"


@pytest.mark.holds("start.no-script", "start.import-fails", "start.init-fails", "start.init-ends")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "No score script found. Expected it at"),
        ("def init(:\n", "could not be imported: SyntaxError: invalid syntax (score.py, line 1)"),
        ("def init():\n    raise ValueError('none')\n" + RUN, "init() failed: ValueError: none (score.py, line 2)"),
        ("import sys\ndef init(): sys.exit(0)\n" + RUN, "init() failed: SystemExit: 0 (score.py, line 2)"),
        (
            "class Odd(Exception):\n    def __str__(self): return 1 / 0\ndef init(): raise Odd\n" + RUN,
            "init() failed: Odd: <its text failed> (score.py, line 3)",
        ),
        (
            "import os\ndef init(): os._exit(0)\n" + RUN,
            "ended by itself with exit code 0 (os._exit in the entry script?)",
        ),
        ("raise SystemExit(0)\n", "could not be imported: SystemExit: 0 (score.py, line 1)"),
    ],
)
def test_what_cannot_be_served_ends_with_3_and_its_reason(serve: Serve, script: str | None, reason: str) -> None:
    ended = serve(script, wait=False).wait()
    assert (ended["exit_code"], ended["returned"], ended["signal"]) == (3, 3, None)
    assert reason in ended["reason"]


@pytest.mark.holds(
    "signature.init-missing",
    "signature.run-missing",
    "signature.init-arguments",
    "signature.run-nothing",
    "signature.run-only-headers",
    "signature.run-kinds",
    "signature.raw-and-declared",
    "start.import-fails",
)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import no_such_module\n", "could not be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (RUN, "does not have a init() function defined."),
        (INIT, "does not have a run() function defined."),
        (INIT + "run = 3\n", "does not have a run() function defined."),
        ("def init(model): pass\n" + RUN, "init() cannot need arguments; it asks for model."),
        (INIT + "def run(): pass\n", "run() needs to accept an argument for input data."),
        (
            INIT + "def run(request_headers): pass\n",
            'run() needs to accept an argument other than "request_headers".',
        ),
        (INIT + "def run(*data): pass\n", "run() cannot accept positional-only arguments, *args, or **kwargs."),
        (INIT + "def run(data, **more): pass\n", "run() cannot accept positional-only"),
        (INIT + "def run(data, /): pass\n", "run() cannot accept positional-only"),
        (
            """
            from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
            from inference_schema.schema_decorators import input_schema
            from mldeploy_serving.entry.aml_request import rawhttp
            def init(): pass
            @rawhttp
            @input_schema("data", StandardPythonParameterType(1))
            def run(data): pass
            """,
            "run() cannot be decorated with both @rawhttp and @input_schema",
        ),
    ],
)
def test_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setitem(sys.modules, "entry_module", None)
    monkeypatch.setattr("mldeploy_serving.entry.aml_request.raw_requested", False)
    (tmp_path / "main.py").write_text(dedent(script))
    with pytest.raises(StartError) as caught:
        load(Settings(tmp_path))
    assert reason in str(caught.value)


@pytest.mark.holds("log.traceback")
def test_the_log_has_the_users_own_lines(serve: Serve) -> None:
    service = serve("def init():\n    deeper()\ndef deeper():\n    1 / 0\n" + RUN, wait=False)
    service.wait()
    assert "ZeroDivisionError: division by zero" in service.log()
    assert 'score.py", line 2, in init' in service.log()
    assert 'score.py", line 4, in deeper' in service.log()
    assert "script.py" not in service.log()


@pytest.mark.holds("variables.unknown-choice", "variables.not-a-number", "variables.too-small")
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"MLDEPLOY_CONTRACT": "loose"}, "MLDEPLOY_CONTRACT=loose is unknown"),
        ({"MLDEPLOY_NAN": "zero"}, "MLDEPLOY_NAN=zero is unknown"),
        ({"SCORING_TIMEOUT_MS": "soon"}, "SCORING_TIMEOUT_MS=soon is not a whole number"),
        ({"SCORING_TIMEOUT_MS": "-1"}, "SCORING_TIMEOUT_MS=-1 is less than 0"),
    ],
)
def test_settings_that_cannot_be_used(variables: dict[str, str], reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        Settings.read(variables)


@pytest.mark.holds("variables.app-root")
def test_a_setting_that_cannot_be_used_stops_the_start(serve: Serve) -> None:
    ended = serve(INIT + RUN, wait=False, AML_APP_ROOT="/no/such/folder").wait()
    assert ended["exit_code"] == 3
    assert ended["reason"] == "The app root /no/such/folder cannot be entered: No such file or directory"


@pytest.mark.holds("variables.without-effect")
def test_variables_that_have_no_effect(serve: Serve) -> None:
    variables = ("AML_APP_INSIGHTS_ENABLED", "AML_MDC_STORAGE_ENABLED", "AML_MODEL_DC_STORAGE_ENABLED")
    service = serve(
        INIT + "def run(data):\n    import logging\n    logging.info('not shown')\n    return data\n",
        AML_APP_INSIGHTS_KEY="11111111-1111-1111-1111-111111111111",
        AZUREML_LOG_LEVEL="DEBUG",
        **dict.fromkeys(variables, "true"),
    )
    assert service.post("a").text == '"a"'
    service.wait_for_log("POST /score 200")
    assert "not shown" not in service.log()


def test_a_failure_of_the_servers_own_is_told_and_leaves_nothing_running(serve: Serve) -> None:
    service = serve(
        """
        import threading
        import inference_schema.schema_util
        def init():
            inference_schema.schema_util.get_supported_versions = None
            threading.Thread(target=threading.Event().wait).start()
        def run(data): pass
        """,
        wait=False,
    )
    ended = service.wait()
    reason = "the scoring server itself has failed: TypeError: 'NoneType' object is not callable"
    assert (ended["exit_code"], ended["reason"]) == (3, reason)
    assert "_possible_versions" in service.log()


WHERE = """
    import os, sys
    import beside_the_script, in_the_source_directory, in_the_app_root
    def init():
        global seen
        seen = [os.getcwd(), open("in_the_app_root.py").read(), os.environ["AZUREML_MODEL_DIR"]]
    def run(data):
        return seen + [__name__, sys.modules[__name__].__file__]
    """


@pytest.mark.holds("paths.app-root", "paths.source-directory", "paths.model-dir")
@pytest.mark.parametrize("entry", ["source/x/score.py", "x/score.py"])
def test_both_documented_layouts(serve: Serve, tmp_path: Path, entry: str) -> None:
    """One document shows a script's path in the app root, the other in the source directory."""
    app = tmp_path / "app"
    (app / "source" / "x").mkdir(parents=True)
    (app / "source" / "x" / "score.py").write_text(dedent(WHERE))
    (app / "source" / "x" / "beside_the_script.py").touch()
    (app / "source" / "in_the_source_directory.py").touch()
    (app / "in_the_app_root.py").touch()
    (app / "queue.py").write_text("raise ImportError('not the one of the standard library')")
    service = serve(
        None,
        AZUREML_ENTRY_SCRIPT=entry,
        AZUREML_SOURCE_DIRECTORY="source",
        AZUREML_MODEL_DIR="azureml-models/a/1",
        AML_APP_ROOT=str(app),
    )
    script = str(app / "source" / "x" / "score.py")
    assert service.post("").json() == [str(app), "", "azureml-models/a/1", "entry_module", script]


@pytest.mark.holds("start.flags", "paths.model-dir")
@pytest.mark.parametrize("spelling", ["-", "_"])
def test_flags_of_the_official_server(serve: Serve, tmp_path: Path, spelling: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "here.py").write_text(
        "import os\n" + INIT + "def run(d): return os.environ['AZUREML_MODEL_DIR']"
    )
    (tmp_path / "root").mkdir()
    flags = (f"--entry{spelling}script", "here.py", f"--model{spelling}dir", "some/models")
    service = serve(None, *flags, AML_APP_ROOT=str(tmp_path / "root"))  # the script is in the current folder
    assert service.post("").json() == "some/models"


@pytest.mark.holds("start.main-py", "start.async-init")
def test_without_a_setting_the_script_is_main_py(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("async def init(): pass\n" + RUN)
    assert serve(None, AZUREML_ENTRY_SCRIPT="").post("").text == "{}"
