"""`python -m mldeploy_serving`: the supervisor, which starts the worker the same way."""

import sys


def _main() -> int:
    if sys.argv[1:2] == ["--as-worker"]:
        from mldeploy_serving.worker.process import main as work

        work(sys.argv[2:])
    from mldeploy_serving.supervisor.command import main

    return main()


if __name__ == "__main__":
    # `-m` has put the current folder first, where a `socket.py` would stand in for the one of the standard library
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]
    sys.exit(_main())
