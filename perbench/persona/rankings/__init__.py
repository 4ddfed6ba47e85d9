"""Built-in rankings, which order the items of a history (persona.retrieve); one file each."""
