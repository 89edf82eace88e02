"""Does what it is told to, for the soak: answers, fails, takes too long, dies, or returns what JSON has nothing for."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

WEIGHTS = np.full(10, 0.5)


def init() -> None:
    """Nothing to load."""


def run(data: str) -> Any:
    request = json.loads(data)
    match request.get("do", "score"):
        case "fail":
            raise ValueError("as it was told to")
        case "exit":
            sys.exit(1)
        case "die":
            os._exit(1)
        case "sleep":
            time.sleep(request["seconds"])
        case "return an object":
            return object()
    return {"token": request["token"], "scores": np.dot(np.asarray(request["data"]), WEIGHTS).tolist()}
