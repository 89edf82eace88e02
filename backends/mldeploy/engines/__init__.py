"""What really runs things here."""
