"""The pytest plugin: deployments as fixtures."""
