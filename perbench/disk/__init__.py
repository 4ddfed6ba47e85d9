"""Files, locks, digests and the cache."""
