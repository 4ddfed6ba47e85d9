"""Builds personas from histories: rankings choose items, summarisers rewrite them."""
