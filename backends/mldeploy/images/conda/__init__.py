"""Conda packages that pip has not: solved and installed by py-rattler, for an image's prefix, without a container.

Post-link scripts are not run, here or anywhere: they are programs of strangers that would change what the lock says.
Activation scripts are not run either, for nobody activates anything in a container. Of both the lock has a notice.
"""

from mldeploy.images.conda.installing import layer_of as layer
from mldeploy.images.conda.locks import CondaLock, CondaPackage
from mldeploy.images.conda.solving import key, solve

__all__ = ["CondaLock", "CondaPackage", "key", "layer", "solve"]
