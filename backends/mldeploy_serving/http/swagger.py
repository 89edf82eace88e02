"""`GET /swagger.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mldeploy_serving.messages import Answer, Request, refusal

# each version by the name that the contract lists it under, with all the names it may be asked for by
NAMES = {"2": ("2", "2.0"), "3": ("3", "3.0"), "3.1": ("3.1",)}


def answer(documents: Mapping[str, bytes], request: Request) -> Answer:
    """The document of the version that `request` asks for, or a 404 that lists those there are.

    Args:
        documents: The documents by every name of their version.
        request: Its query may have a `version`; without one it is 2.
    """
    version = next((value for name, value in request.pairs() if name == "version"), "2")
    document = documents.get(version)
    if document is not None:
        return Answer(200, document, failed=False)
    if any(version in names for names in NAMES.values()):
        return refusal(
            404,
            f"Swagger version [{version}] is not supported for the scoring script. "
            f"Supported swagger versions: [{supported(documents)}].",
        )
    return refusal(404, f"Swagger version [{version}] is not valid. Supported versions: [{supported(documents)}].")


def supported(made: Iterable[str]) -> str:
    """The versions in the words of the contract: each once, by its shortest name.

    Examples:
        >>> supported(["3", "3.0", "3.1"])
        '3, 3.1'
    """
    return ", ".join(name for name in NAMES if name in made)
