"""`python -m mldeploy_serving`."""

import sys

# `-m` has put the current folder first, where a `socket.py` would stand in for the one of the standard library
if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]

from mldeploy_serving.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
