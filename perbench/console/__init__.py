"""What is written to terminals, and how runs are interrupted."""
