"""The scoring server: Azure Machine Learning v1's entry-script contract over HTTP.

`python -m mldeploy_serving` is a light supervisor (`supervisor`) and one worker (`worker`). In the worker,
`init()` and `run()` are called on the main thread (`scoring`), where signals and thread-bound libraries expect
them; the HTTP loop (`connection`, `application`) lives in a background thread and so answers health probes and
the scoring timeout while `run()` computes.
"""

__version__ = "0.1.0"
