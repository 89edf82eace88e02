"""What a user sees, command by command, as snapshots: exit code, stdout and stderr."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from tests.mldeploy.runner.conftest import Project

SESSION = """
mldeploy workspace show --query "[name, resourceGroup]"
mldeploy model register -n answer -p model.txt --tag stage=test -d "Half of one"
mldeploy model list -o table
mldeploy model show answer -o yaml
mldeploy model update answer:1 --add-tag stage=prod --query tags
mldeploy model download answer:1 -t back
mldeploy model deploy -n my-service -m answer:1 --es score.py --dry-run
mldeploy model deploy -n my-service -m answer:1 --es score.py --tag team=a
mldeploy model deploy -n my-service -m answer:1 --es score.py
mldeploy service show my-service -o table
mldeploy service run my-service -d '[1, 2]'
mldeploy service list --query "[].[name, state]" -o tsv
mldeploy service update my-service --add-tag team=b -o table
mldeploy service reload my-service -o table
mldeploy model delete answer:1
mldeploy service delete my-service
mldeploy service show my-service
mldeploy model delete answer:1
mldeploy model show answer
mldeploy environment build -o table
mldeploy config check bad.json
mldeploy config check bad.json -o table
mldeploy model deploy -n my-service --es score.py --dc bad.json
mldeploy model deploy -n my-service --es broken.py
mldeploy model deploy -n my-service --es raises.py
"""

SCRUBBED = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00)?", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "<time>"),
    (r"(localhost|127\.0\.0\.1):\d+", r"\1:<port>"),
    (r"my-service: Transitioning\n", ""),  # seen or not, as it happens
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"\b[0-9a-f]{64}\b", "<digest>"),
    (r"\[\d+\]", "[<pid>]"),
    (r"services/\S+?/app/", "services/<instance>/app/"),
    (r"\S+/environments/\S+", "<environment>"),
    (r" \d+\.\d+ms", " <ms>"),
    (r"line \d+", "line <n>"),
    (r" +\^+\n", ""),
]


@pytest.mark.usefixtures("serving_python")
def test_a_session_on_the_screen(project: Project, snapshot: SnapshotAssertion) -> None:
    project.write("bad.json", '{\n  "computeType": "local",\n  "prot": 8890,\n  "authEnabled": true\n}\n')
    project.write("broken.py", "def init(:\n    pass\n")
    project.write(
        "raises.py", "def init():\n    raise ValueError('no such column: age')\n\ndef run(data):\n    return 1\n"
    )
    screens = []
    for line in SESSION.strip().splitlines():
        outcome = project.run(*shlex.split(line)[1:])
        screen = f"$ {line}\n{outcome.out}--- stderr, exit code {outcome.code}\n{outcome.err}"
        screens.append(scrub(screen, project))
    assert "\n".join(screens) == snapshot


def scrub(text: str, project: Project) -> str:
    """The text without what differs from run to run."""
    text = text.replace(str(project.folder), "<project>").replace(str(project.store), "<store>")
    for pattern, shown in SCRUBBED:
        text = re.sub(pattern, shown, text)
    # a table's rule is as wide as what was scrubbed
    return re.sub(r"-{20,}", "--------------------", text)
