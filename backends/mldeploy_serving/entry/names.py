"""The names that entry scripts import from Azure ML's packages, without those packages.

`azureml.contrib.services` and `azureml_inference_server_http.api` are always ours: what a script gets from them
has to be what this server understands. `azureml.core` and `mldeploy` are ours only where they are not installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader  # costs 12 ms where nothing else needs it

_REQUEST = {"AMLRequest": "aml_request", "rawhttp": "aml_request"}
_RESPONSE = {"AMLResponse": "aml_response"}
_MODEL = {"Model": "model_path"}
_ERRORS = dict.fromkeys(
    ("AzureMLException", "ModelNotFoundException", "UserErrorException", "WebserviceException"), "model_path"
)

# each module with its names and where they come from; what begins with a package here is that package's
ALWAYS: dict[str, dict[str, str]] = {
    "azureml.contrib.services": {},
    "azureml.contrib.services.aml_request": _REQUEST,
    "azureml.contrib.services.aml_response": _RESPONSE,
    "azureml_inference_server_http.api": {},
    "azureml_inference_server_http.api.aml_request": _REQUEST,
    "azureml_inference_server_http.api.aml_response": _RESPONSE,
    "mldeploy.contrib.services": {},
    "mldeploy.contrib.services.aml_request": _REQUEST,
    "mldeploy.contrib.services.aml_response": _RESPONSE,
}
WHERE_ABSENT: dict[str, dict[str, str]] = {
    "azureml": {},
    "azureml.contrib": {},
    "azureml.core": _MODEL,
    "azureml.core.model": _MODEL,
    "azureml.exceptions": _ERRORS,
    "azureml_inference_server_http": {},
    "mldeploy": _MODEL,
    "mldeploy.contrib": {},
    "mldeploy.exceptions": _ERRORS,
    "mldeploy.model": _MODEL,
}

_ORIGIN = "mldeploy_serving"


def install() -> None:
    """Make the names importable in this process."""
    sys.meta_path.insert(0, _Finder(ALWAYS))
    fill_in()


def fill_in() -> None:
    """Make importable what is not there: all that a script is to find beside another scoring server."""
    sys.meta_path.append(_Finder(WHERE_ABSENT))
    sys.meta_path.append(_Refuser())


class _Finder:
    def __init__(self, modules: dict[str, dict[str, str]]) -> None:
        self._modules = modules

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        names = self._modules.get(fullname)
        if names is None:
            return None
        return ModuleSpec(fullname, cast("Loader", _Names(names)), origin=_ORIGIN, is_package=True)


class _Names:
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: ModuleType) -> None:
        for name, source in self._names.items():
            setattr(module, name, getattr(importlib.import_module(f"mldeploy_serving.entry.{source}"), name))


class _Refuser:
    """Says what to do about a name that our modules have not.

    `from package import name` looks for a module of that name last, so both kinds of import come here; `hasattr`,
    which pickle uses on every module there is, does not.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> None:
        package, _, name = fullname.rpartition(".")
        spec = getattr(sys.modules.get(package), "__spec__", None)
        if spec is not None and spec.origin == _ORIGIN and not name.startswith("_"):
            # had it the name of what is looked for, `from … import …` would say words of its own
            raise ModuleNotFoundError(
                f"{fullname} is not part of the scoring server; add the package that has {package!r} "
                "to the service's environment",
                name=package,
            )
