"""Built-in summarisers: what rewrites a history (persona.summarise). One file each."""
