"""What shows that the rest did as it says: imports nothing of what it checks."""
