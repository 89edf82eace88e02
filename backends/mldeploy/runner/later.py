"""Words of v1's command line, and of ours to come, that this version does not do yet: one table, one answer."""

from __future__ import annotations

import click

from mldeploy.errors import ComputeTargetException

_AZURE = "it comes with the AKS target"
_IMAGES = "it comes with the Docker engine and images"
_OURS = "it comes with a later version"
_NONE_HERE = "local services have none; it comes with the targets that do (ACI, AKS)"

WORDS: dict[tuple[str, ...], str] = {
    ("model", "profile"): "it comes with the ACI target",
    ("service", "get-keys"): _NONE_HERE,
    ("service", "regen-key"): _NONE_HERE,
    ("service", "get-access-token"): _NONE_HERE,
    ("endpoint",): _AZURE,
    ("computetarget",): _AZURE,
    ("run",): "there are no runs in the cloud here; train with your own script, then `mldeploy model register`",
    ("pipeline",): "batch jobs are not what mldeploy deploys",
    ("emulator",): _OURS,
    ("perf",): _OURS,
    ("schema",): _OURS,
    ("test",): "it comes with a later version; till then: pytest --mldeploy-target=local",
    ("ps",): "it comes with a later version; till then: mldeploy service list",
    ("prune",): "it comes with a later version; till then: mldeploy workspace gc",
}


def word(path: tuple[str, ...]) -> click.Command | None:
    """The command that answers for a word which is to come; None for words that are not.

    Args:
        path: The words after `mldeploy`.
    """
    if path not in WORDS:
        return None

    def refuse(args: tuple[str, ...]) -> None:  # noqa: ARG001 - whatever was typed, the answer is the same
        raise ComputeTargetException(f"`mldeploy {' '.join(path)}` is not there yet: {WORDS[path]}")

    rest = click.Argument(["args"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(path[-1], callback=refuse, params=[rest], context_settings=settings, hidden=True)
