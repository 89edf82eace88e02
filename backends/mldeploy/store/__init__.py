"""The tables and files behind a workspace."""
