"""`mldeploy model deploy`."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import click

from mldeploy.errors import UserErrorException, WebserviceException
from mldeploy.events import Notice
from mldeploy.runner import _deploying
from mldeploy.runner._options import pairs
from mldeploy.runner._settings import DEPLOYING, serving, setting_flags, settings
from mldeploy.runner._verbs import Call, Verb, typed_line

if TYPE_CHECKING:
    from mldeploy.webservice import Webservice

COLUMNS = ("name", "state", "computeType", "scoringUri")


@click.command("deploy", cls=Verb, columns=COLUMNS)
@click.option("--name", "-n", help="The service's name.")
@_deploying.model_flags
@_deploying.inference_flags
@_deploying.deployment_flags
@click.option("--compute-type", "--cp", help="local, ACI, AKS or AKSENDPOINT.  [default: local, or what --dc says]")
@click.option("--overwrite", is_flag=True, help="Replace a service of that name.")
@click.option("--no-wait", is_flag=True, help="Return as soon as it is started, before it is Healthy.")
@setting_flags(*DEPLOYING)
@click.option("--dry-run", is_flag=True, help="Say what would be done; start nothing.")
@pairs("--tag", "A tag of the service; may be repeated.")
@pairs("--property", "A property of the service; may be repeated.")
@click.option("--description", help="The service's description.")
@click.option("--profile-input", "--pi", hidden=True)
@click.pass_context
def deploy(ctx: click.Context, /, name: str | None, **given: Any) -> dict[str, Any]:
    """Deploy models with an entry script, and wait until the service is Healthy.

    Without -m the entry script does without a registered model.
    """
    call: Call = ctx.obj
    if not name:
        raise _nameless(ctx, given["models"])
    from mldeploy import deployment, webservice

    _check_name(name)
    if given.pop("profile_input"):
        raise UserErrorException("--pi needs a profile, and `model profile` is not built yet", hint="leave out --pi")
    flags = {key: given.pop(key) for key in DEPLOYING}
    overwrite, no_wait, dry_run = (given.pop(key) for key in ("overwrite", "no_wait", "dry_run"))
    labels = {
        "tags": dict(given.pop("tag")) or None,
        "properties": dict(given.pop("property")) or None,
        "description": given.pop("description"),
    }
    models = _deploying.model_ids(given.pop("models"), given.pop("model_files"))
    compute_type = given.pop("compute_type")
    asked = _deploying.sort(given)
    configuration = _deploying.deployment_config(asked, compute_type, call.report, **labels)
    chosen = settings({**flags, "scoring_timeout_ms": asked.scoring_timeout_ms}, call.where.path)
    workspace = call.workspace()
    call.report(Notice(f"Workspace {workspace.name}"))
    order = webservice.order(
        workspace,
        models,
        _deploying.inference_config(workspace, asked, call.report),
        configuration,
        chosen["engine"],
        chosen["timeout"],
        serving(chosen),
        chosen["offline"],
    )
    if dry_run:
        return _as_json(dataclasses.asdict(deployment.plan(workspace, name, order, call.report)))
    record = deployment.deploy(workspace, name, order, overwrite=overwrite, report=call.report)
    service = webservice.Webservice(workspace, name)
    if not no_wait:
        wait(service, call, replaced=record.created_time < record.updated_time)
    return service.serialize()


def wait(service: Webservice, call: Call, replaced: bool) -> None:
    """Wait until a service is Healthy.

    Ctrl-C takes a new service away again. One that replaced another stays: there is nothing to go back to.

    Args:
        service: Just deployed.
        call: The command.
        replaced: Whether there may have been one of that name before.

    Raises:
        WebserviceException: It Failed; its record and log stay, for `service get-logs`.
    """
    try:
        service.wait_for_deployment(report=call.report)
    except (KeyboardInterrupt, SystemExit):
        if replaced:
            call.report(Notice(f"{service.name} goes on starting: mldeploy service show {service.name}"))
        else:
            service.delete()
            call.report(Notice(f"{service.name} is removed; --no-wait would leave it starting"))
        raise
    call.report(Notice(f'{service.compute_type} service creation operation finished, operation "Succeeded"'))


def _nameless(ctx: click.Context, models: tuple[str, ...]) -> UserErrorException:
    """The seed page's lines lack `-n`, as v1's command never allowed: show the whole line to type."""
    name = models[0].partition(":")[0].lower() if models else ""
    proposed = re.sub(r"[^a-z0-9]+", "-", name).strip("-0123456789")[:32]
    return UserErrorException(
        "the service needs a name", hint=typed_line(ctx, "-n", proposed if len(proposed) >= 3 else "myservice")
    )


def _check_name(name: str) -> None:
    from mldeploy.deployment import check_name

    try:
        check_name(name)
    except WebserviceException as error:
        raise UserErrorException(error.message, reason=error.reason, hint=error.hint) from None


def _as_json(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan under keys spelled as in all other results."""
    return {re.sub(r"_(.)", lambda letter: letter[1].upper(), key): value for key, value in plan.items()}
