"""The parent process: it starts and replaces the workers, keeps their log, and speaks HTTP."""
