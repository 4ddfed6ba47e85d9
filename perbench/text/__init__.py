"""Words, sentences, scripts and WordNet."""
