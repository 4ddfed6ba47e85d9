"""What protocols share: what they read and return, the loop that resumes, and code of protocols that have no folder of
their own yet. The protocols themselves are plugins, in `protocols/`."""
