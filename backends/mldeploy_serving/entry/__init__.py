"""The entry script, and the names that it imports from Azure ML's packages."""
