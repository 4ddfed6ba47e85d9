"""What becomes of a history before it enters a prompt."""
