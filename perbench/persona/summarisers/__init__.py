"""Built-in summarisers, which rewrite a history (persona.summarise); one file each."""
