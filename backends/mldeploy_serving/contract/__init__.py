"""What a request has to be, what `run()` is called with, and how its result is written."""
