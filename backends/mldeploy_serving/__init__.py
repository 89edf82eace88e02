"""The scoring server: Azure Machine Learning v1's entry-script contract over HTTP.

`python -m mldeploy_serving` is a supervisor that never runs user code, and worker processes that do:

- `supervisor`: flags, listening sockets and signals, the workers and their replacement, the log.
- `http`: what the supervisor says to clients: connections, routes, request lines, metrics. As no script shares its
  process, health probes and the scoring timeout are answered whatever `run()` does, a C call that never returns
  included.
- `channel`, `messages`: requests that go to a worker and answers that come back, over a socket pair for each.
- `worker`: a child process that calls `init()` and then `run()`, one request at a time, on its main thread, where
  signals and thread-bound libraries expect them.
- `entry`: how the entry script is found and loaded, and what it may import.
- `contract`: which requests and results fit, and what is answered to those that do not.
"""

__version__ = "0.1.0"
