from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mldeploy.config import check

Write = Callable[[str, str], Path]

SCRIPT = "def init(): pass\ndef run(data): return data\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dc.json", '{"computeType": "local"}'),
        ("ic.json", '{"entryScript": "score.py"}'),
        ("env.json", '{"name": "x", "python": {}}'),
        ("mldeploy.toml", "[[service]]\nname = 'a'\ninference_config = 'ic.json'"),
        ("pyproject.toml", "[tool.mldeploy]\ntimeout = 5"),
    ],
)
def test_all_is_well(write: Write, name: str, text: str) -> None:
    write("score.py", SCRIPT)
    assert check(write(name, text)) == []


@pytest.mark.parametrize("misspelt", ["entry_script", "entryScrpt"])
def test_a_misspelt_first_key_does_not_hide_the_kind(write: Write, misspelt: str) -> None:
    findings = check(write("ic.json", f'{{"{misspelt}": "score.py", "environment": null}}'))
    assert any(misspelt in finding.message and "entryScript" in str(finding) for finding in findings)


def test_findings_come_in_the_order_of_the_file(write: Write) -> None:
    text = "computeType: aks\nenableAppInsights: true\nnumReplicas: -1\nprt: 1\nsslEnabled: false\n"
    levels = [(finding.level, finding.line, finding.message.split()[0]) for finding in check(write("dc.yml", text))]
    assert levels == [
        ("warning", 2, "'enableAppInsights'"),
        ("error", 3, "'numReplicas'"),
        ("error", 4, "'prt'"),
        ("warning", 5, "'sslEnabled'"),
    ]


def test_the_entry_script_is_checked(write: Write) -> None:
    path = write("ic.json", '{"entryScript": "score.py"}')
    (finding,) = check(path)
    assert (finding.level, finding.file, finding.line) == ("error", "ic.json", None)
    assert finding.message.endswith("score.py: The entry script cannot be read: there is no such file")
    write("score.py", "def init(): pass")
    assert "has no run()" in check(path)[0].message
    write("score.py", "def init(:")
    assert "score.py:1: The entry script is not Python" in check(path)[0].message


def test_files_that_are_named_are_checked(write: Write) -> None:
    write("score.py", SCRIPT)
    path = write("ic.json", '{"entryScript": "score.py",\n "condaFile": "conda.yml"}')
    (finding,) = check(path)
    assert finding.message.endswith("conda.yml: The file cannot be read: No such file or directory")
    environment = write("env.json", '{"python": {"condaDependenciesFile": "conda.yml"}}')
    assert [finding.level for finding in check(environment)] == ["error"]


def test_requirements_that_are_named_are_checked(write: Write) -> None:
    write("score.py", SCRIPT)
    write("conda.yml", "dependencies: [{pip: ['-r missing.txt']}]")
    for path in (
        write("env.json", '{"python": {"condaDependenciesFile": "conda.yml"}}'),
        write("ic.json", '{"entryScript": "score.py", "condaFile": "conda.yml"}'),
    ):
        (finding,) = check(path)
        assert finding.level == "error"
        assert finding.message.endswith("missing.txt cannot be read: No such file or directory")
        assert finding.message.count("missing.txt") == 1


@pytest.mark.parametrize("path", ["~no-such-user/x", "a\\u0000b", "x" * 300])
def test_a_text_that_is_no_path_is_a_finding(write: Write, path: str) -> None:
    write("score.py", SCRIPT)
    pem = "-----BEGIN"
    for text in (
        f'{{"entryScript": "{path}.py"}}',
        f'{{"entryScript": "score.py", "sourceDirectory": "{path}"}}',
        f'{{"entryScript": "score.py", "condaFile": "{path}"}}',
        f'{{"entryScript": "score.py", "extraDockerfileSteps": "{path}"}}',
        f'{{"python": {{"condaDependenciesFile": "{path}"}}}}',
        f'{{"docker": {{"baseDockerfile": "{path}"}}}}',
        f'{{"computeType": "aci", "sslEnabled": true, "cname": "a", "sslKey": "{pem}", "sslCertificate": "{path}"}}',
    ):
        (finding,) = check(write("config.json", text))
        assert finding.level == "error"


def test_a_path_from_the_current_folder_is_a_warning(write: Write) -> None:
    write("score.py", SCRIPT)
    (finding,) = check(write("conf/ic.json", '{"entryScript": "score.py", "schemaFile": null}'))
    assert finding.level == "warning"
    assert "taken from the current folder" in finding.message


def test_each_warning_is_told_once(write: Write) -> None:
    write("score.py", SCRIPT)
    (finding,) = check(write("ic.json", '{"entryScript": "score.py",\n "schemaFile": "x"}'))
    assert (finding.level, finding.line) == ("warning", 2)


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("x.json", "{", 1, "Not JSON"),
        ("x.json", '{"a": 1}', None, "no config file that mldeploy knows"),
        ("x.toml", "a = = 1", 1, "Not TOML"),
        ("x.yml", "", None, "The file is empty"),
        ("env.yml", "python:\n  userManagedDependencies: 1", 2, "expected true or false"),
    ],
)
def test_what_cannot_be_read_is_a_finding(write: Write, name: str, text: str, line: int | None, message: str) -> None:
    (finding,) = check(write(name, text))
    assert message in finding.message
    assert (finding.level, finding.file) == ("error", name)
    assert finding.line == line


def test_a_missing_file_is_a_finding() -> None:
    (finding,) = check("missing.json")
    assert (finding.level, finding.file, finding.line) == ("error", "missing.json", None)
