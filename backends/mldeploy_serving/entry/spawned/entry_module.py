"""The entry script under its module's name, in a process that it has spawned (multiprocessing, joblib).

Such a process has the worker's environment variables and its `sys.path`, whose last folder is this one, and
imports what it unpickles: loading the script puts the script in this module's place.
"""

import os

from mldeploy_serving.entry import names, script
from mldeploy_serving.settings import Settings

names.install()
script.load(Settings.read(os.environ))
