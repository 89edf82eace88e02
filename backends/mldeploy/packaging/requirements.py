"""From an environment's definition to what `uv` is asked to resolve.

Each form of a pip line either works or is refused by name: what would be dropped in silence would be missed
in the service.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mldeploy.errors import EnvironmentException, NeedsImage
from mldeploy.packaging import conda_specs

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from mldeploy.config.environment import CondaDefinition, EnvironmentDefinition

FILLED = frozenset(
    {
        "azureml-contrib-services",
        "azureml-core",
        "azureml-defaults",
        "azureml-inference-server-http",
        "azureml-model-management-sdk",
    }
)
"""Requirements that the scoring server fills: what entry scripts import from them comes with it."""

_VALUE_OPTIONS = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
}
_PLAIN_OPTIONS = {
    "--no-index": ("--no-index",),
    "--pre": ("--prerelease", "allow"),
    "--prefer-binary": (),
    "--require-hashes": (),
}
_REFUSED_OPTIONS = {
    "-e": "an editable install cannot be locked: build a wheel of it (`uv build`) and list the file",
    "--editable": "an editable install cannot be locked: build a wheel of it (`uv build`) and list the file",
    "-r": "read the file with Environment.from_pip_requirements or from_conda_specification, which take it in",
    "--requirement": "read the file with Environment.from_pip_requirements or from_conda_specification",
    "--trusted-host": "trust is the machine's to give: set UV_INSECURE_HOST, or `allow-insecure-host` in uv.toml",
}
_USUAL_CHANNELS = {"anaconda", "conda-forge", "defaults", "main"}
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_VCS = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)\+")
_BARE_REFERENCE = re.compile(r"^(?:[./~]|https?:|file:)|\.(?:whl|zip|tar\.gz)(?:$|[\s#;])", re.IGNORECASE)


@dataclass(frozen=True)
class CondaWanted:
    """What an environment asks of conda: the packages that pip has not.

    Args:
        packages: Package specifications as written.
        bounds: Specifications that only bound what the packages bring: those of conda packages that pip installs,
            and pip's own requirements in conda's spelling.
        channels: As written, the first one first; none where the environment names none.
        python: As `Wanted.python`.
    """

    packages: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    python: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What an environment asks of pip, whole by itself.

    Args:
        python: A version or PEP 440 range; None where none was asked for.
        requirements: Requirement lines.
        constraints: Requirement lines that only bound what others ask for.
        options: Arguments for `uv` about indexes and builds; no credentials in them.
        filled: A requirement such as `azureml-defaults` was there, which the scoring server fills.
        notices: What the user should know.
        conda: What is asked of conda besides; None where pip has everything.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    filled: bool = False
    notices: tuple[str, ...] = ()
    conda: CondaWanted | None = None


@dataclass(frozen=True)
class PipLine:
    """One line of a pip list: exactly one of the three is set, or `filled`, or none for an empty line."""

    requirement: str = ""
    constraint: str = ""
    options: tuple[str, ...] = ()
    filled: str = ""


def from_definition(definition: EnvironmentDefinition, besides: Sequence[str] = (), *, image: bool = False) -> Wanted:
    """Turn conda and pip packages of a definition into one list for `uv`.

    Args:
        definition: The environment; packages of an interpreter managed by the user are not looked at.
        besides: Names of packages that are needed too. A version that the definition asks for holds, also of one
            that our scoring server fills otherwise.
        image: It is for an image, where conda installs what pip has not.

    Returns:
        What to resolve; conda packages under their pip names.

    Raises:
        NeedsImage: Only an image can satisfy it, and it is not for one.
        EnvironmentException: A line cannot be read, or is of a form that is refused; the hint has the way out.

    Examples:
        >>> from mldeploy.config.environment import CondaDefinition, EnvironmentDefinition, PythonDefinition
        >>> conda = CondaDefinition.model_validate(
        ...     {"dependencies": ["python=3.10", "pytorch=2.5", {"pip": ["azureml-defaults", "pandas"]}]}
        ... )
        >>> wanted = from_definition(EnvironmentDefinition(python=PythonDefinition(conda_dependencies=conda)))
        >>> wanted.python, wanted.requirements, wanted.filled
        ('3.10', ('torch==2.5.*', 'pandas'), True)
    """
    if not image:
        refuse_image(definition)
    conda = definition.python.conda_dependencies
    if conda is None:
        return Wanted(requirements=tuple(besides))
    wanted = _from_conda(conda, FILLED.difference(besides))
    if wanted.conda and not image:
        raise NeedsImage(
            f"pip cannot satisfy these conda packages: {', '.join(wanted.conda.packages)}",
            where="condaDependencies",
            hint="engine docker installs them with conda's own packages; or list under 'pip' what PyPI has too",
        )
    return replace(wanted, requirements=(*wanted.requirements, *besides))


def refuse_image(definition: EnvironmentDefinition) -> None:
    """Let through what needs no image.

    Args:
        definition: The environment.

    Raises:
        NeedsImage: It has a Dockerfile, a base image that is not one of the vendor's stock ones, or arguments
            for Docker.
    """
    if why := definition.needs_image:
        raise NeedsImage(
            f"this environment needs an image: {why}",
            where=f"environment {definition.name}" if definition.name else "environment",
            hint="engine docker does that; or leave it out of the environment",
        )


def read_pip_line(line: str, filled: Container[str] = FILLED) -> PipLine:
    """Read one line of a pip list.

    Args:
        line: As in a requirements file; relative paths are relative to the current folder. Besides, a line
            `--constraint SPEC` is what one line of a constraints file has become.
        filled: The packages that the scoring server fills.

    Returns:
        What it is.

    Raises:
        EnvironmentException: It cannot be read, or is of a form that is refused.

    Examples:
        >>> read_pip_line("pandas>=2  # frames").requirement
        'pandas>=2'
        >>> read_pip_line("azureml-defaults~=1.48").filled
        'azureml-defaults'
        >>> read_pip_line("--index-url=https://index.example/simple").options
        ('--index-url', 'https://index.example/simple')
    """
    line = re.sub(r"(^|\s)#.*$", "", line).strip()
    if not line:
        return PipLine()
    if line.startswith("-"):
        return _option(line)
    if _VCS.search(line):
        raise _refused(line, "what is behind it has no hash: build a wheel of it (`uv build`) and list the file")
    if _BARE_REFERENCE.search(line) and "@" not in line.split("//")[0]:
        return PipLine(requirement=_bare_reference(line))
    name = _NAME.match(line)
    if name and canonicalize_name(name[0]) in filled and "@" not in line:
        return PipLine(filled=canonicalize_name(name[0]))
    return PipLine(requirement=_checked(line))


def local_files(wanted: Wanted) -> list[Path]:
    """The wheels and source archives on this machine that are asked for: their bytes belong to the question."""
    found = []
    for line in wanted.requirements:
        url = line.partition("@")[2].strip() or line
        path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else Path(url.split(" ")[0])
        if url.startswith(("file:", "/")) and path.is_file():
            found.append(path)
    return found


def _from_conda(conda: CondaDefinition, fillable: Container[str]) -> Wanted:
    packages = [line for line in conda.dependencies if isinstance(line, str)]
    pip = [line for section in conda.dependencies if not isinstance(section, str) for line in section.pip]
    known, unknown = _told_apart(packages)
    python, requirements, notices = _conda_packages(known)
    # v1 wrote the usual channels into every file: of those nobody needs to be told each time
    own = [channel for channel in conda.channels or () if channel not in _USUAL_CHANNELS]
    if requirements and own and not unknown:
        notices.append(f"conda channels are not used ({', '.join(map(_shown, own))}): packages come from pip's indexes")
    lines = [read_pip_line(line, fillable) for line in pip]
    # azureml-defaults is in every environment of v1's: of that nobody needs to be told each time
    filled = {line.filled for line in lines if line.filled}
    if told := sorted(filled - {"azureml-defaults"}):
        notices.append(f"{', '.join(told)}: filled by the scoring server itself")
    asked = tuple(line.requirement for line in lines if line.requirement)
    return Wanted(
        python,
        (*requirements, *asked),
        tuple(line.constraint for line in lines if line.constraint),
        tuple(argument for line in lines for argument in line.options),
        bool(filled),
        tuple(notices),
        CondaWanted(
            tuple(unknown),
            (*_bounds(known), *conda_specs.bounds(asked)),
            tuple(conda.channels or ()),
            python,
        )
        if unknown
        else None,
    )


def _told_apart(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """The conda packages that pip has, and those that it has not."""
    known: list[str] = []
    unknown: list[str] = []
    for line in lines:
        name = conda_specs.name(line)
        # what has no name is let through to where it is refused
        (known if not name or name == "python" or name in conda_specs.table() else unknown).append(line)
    return known, unknown


def _bounds(lines: Iterable[str]) -> Iterable[str]:
    """What conda may not contradict, of the packages that pip installs in its place."""
    return (line for line in lines if conda_specs.name(line) != "python" and conda_specs.parse(line).version)


def _conda_packages(lines: Iterable[str]) -> tuple[str | None, list[str], list[str]]:
    python: str | None = None
    requirements: list[str] = []
    notices: list[str] = []
    for line in lines:
        spec = conda_specs.parse(line)
        if spec.name == "python":
            python = python_version(spec.version)
        elif pip_name := conda_specs.table()[spec.name]:
            requirements.append(pip_name + spec.version)
            notices += [f"conda package {line!r}: {part} is not used by pip" for part in spec.dropped]
    return python, requirements, notices


def python_version(specifier: str) -> str | None:
    """What a conda line `python…` asks for, as `pythons.choose` takes it.

    Examples:
        >>> python_version("==3.10.*"), python_version("==3.6.2.*"), python_version(">=3.9,<3.12")
        ('3.10', '3.6.2', '>=3.9,<3.12')
    """
    version = re.fullmatch(r"==([\d.]+?)(?:\.\*)?", specifier)
    if version and "." in version[1]:
        return version[1]
    return f"=={version[1]}.*" if version else specifier or None


def _option(line: str) -> PipLine:
    try:
        first, *rest = shlex.split(line)
    except ValueError:
        raise _refused(line, "quotes do not match") from None
    name, _, value = first.partition("=") if first.startswith("--") else (first[:2], "", first[2:])
    value = value or " ".join(rest)
    if name in {"-c", "--constraint"}:
        return PipLine(constraint=_constraint(line, value))
    if name in _VALUE_OPTIONS and value:
        return PipLine(options=(_VALUE_OPTIONS[name], _location(line, name, value)))
    if name in _PLAIN_OPTIONS:
        return PipLine(options=_PLAIN_OPTIONS[name])
    raise _refused(line, _REFUSED_OPTIONS.get(name, "set it in uv.toml or as a UV_* variable, which are honoured"))


def _constraint(line: str, value: str) -> str:
    try:
        requirement = Requirement(value)
    except InvalidRequirement:
        requirement = None
    if requirement is None or not (requirement.specifier or requirement.url):
        raise _refused(line, "read it with Environment.from_pip_requirements, which takes constraints files in")
    return _checked(value)


def _location(line: str, name: str, value: str) -> str:
    if "://" in value:
        _no_credentials(line)
    elif name in {"-f", "--find-links"}:
        return str(Path(value).expanduser().absolute())
    return value


def _bare_reference(line: str) -> str:
    _no_credentials(line)
    if re.match("https?:|file:", line, re.IGNORECASE):
        return line
    target, extras, rest = re.match(r"([^\[;\s]+)(\[[^\]]*\])?(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
    path = Path(target).expanduser().absolute()
    if path.is_dir():
        raise _refused(line, "a source folder has no hash: build a wheel of it (`uv build`) and list the file")
    if not path.is_file():
        raise EnvironmentException(
            f"{target} does not exist", where=line, hint="paths are relative to the file they are in"
        )
    return f"{path}{extras or ''}{rest}"


def _checked(line: str) -> str:
    specifier = re.split(r"\s--(?:hash|global-option|config-settings)\b", line)[0]
    try:
        requirement = Requirement(specifier)
    except InvalidRequirement as error:
        raise EnvironmentException(
            f"{_shown(line)!r} is not a pip requirement",
            where="condaDependencies: pip",
            reason=_shown(str(error)),
            hint="write NAME, NAME==VERSION or NAME>=VERSION",
        ) from None
    if requirement.url:
        _no_credentials(line)
    return line


def _no_credentials(line: str) -> None:
    if any("@" in urlsplit(url).netloc for url in re.findall(r"[A-Za-z][A-Za-z+]*://\S+", line)):
        raise _refused(
            line,
            "credentials stay out of an environment: put them in netrc, the keyring, or in"
            " UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD for an index named in uv.toml",
        )


def _refused(line: str, way_out: str) -> EnvironmentException:
    return EnvironmentException(
        f"the pip line {_shown(line)!r} is not taken", where="condaDependencies: pip", hint=way_out
    )


def _shown(line: str) -> str:
    from mldeploy.packaging.uv import scrub

    return scrub(line)
