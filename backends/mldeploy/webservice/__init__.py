"""A deployment seen from outside: `azureml.core.webservice` with v1's names and parameters."""

from mldeploy.webservice._cloud import AciWebservice, AksEndpoint, AksWebservice
from mldeploy.webservice._local import LocalWebservice
from mldeploy.webservice._orders import order
from mldeploy.webservice._service import Webservice

__all__ = ["AciWebservice", "AksEndpoint", "AksWebservice", "LocalWebservice", "Webservice", "order"]
