"""HTTP: connections, routes, and what every answer has in common."""
