"""`python -m mldeploy_serving`."""

import sys

from mldeploy_serving.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
