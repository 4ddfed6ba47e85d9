"""Built-in rankings: which items of a history come first (persona.retrieve). One file each."""
