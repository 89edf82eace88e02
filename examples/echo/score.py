"""Answers what it was sent: the first thing to deploy when something does not work."""

import json


def init():
    print("echo is ready")


def run(raw_data):
    print(f"{len(raw_data)} characters came in")
    return {"echo": json.loads(raw_data)}
