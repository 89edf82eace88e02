"""The child process that has the entry script and calls `init()` and `run()`."""
