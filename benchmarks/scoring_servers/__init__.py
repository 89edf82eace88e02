"""What the benchmarks of the scoring server share: servers, load, and what a process tree takes."""
