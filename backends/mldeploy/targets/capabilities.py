"""What only some targets can do, by one word each.

A test asks with `@pytest.mark.mldeploy_requires("traffic")`, an option that needs one is refused elsewhere.
"""

from __future__ import annotations

from typing import Literal

Capability = Literal["keys", "tokens", "tls", "traffic", "autoscale", "replicas", "grpc", "messages", "reload"]

CAPABILITIES: dict[str, str] = {
    "keys": "two keys guard the scoring URI",
    "tokens": "tokens that expire guard the scoring URI",
    "tls": "the scoring URI is https",
    "traffic": "several versions share one URI by percentage",
    "autoscale": "replicas follow the load",
    "replicas": "more than one replica serves",
    "grpc": "TensorFlow Serving's Predict over gRPC",
    "messages": "messages in, messages out",
    "reload": "a fresh copy of the source without a new deployment",
}
