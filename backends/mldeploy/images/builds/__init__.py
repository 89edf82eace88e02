"""What needs a build: Dockerfiles, and wheels of source distributions."""
