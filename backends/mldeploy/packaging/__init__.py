"""Models, entry script and environment made into one content-addressed thing that can run."""
