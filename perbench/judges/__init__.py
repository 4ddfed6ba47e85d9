"""Judges: models that rate. Replies are parsed strictly; what does not parse is missing, never guessed."""

from perbench.judges.rating import Rating, parse_rating, rate, rate_likeliest

__all__ = ["Rating", "parse_rating", "rate", "rate_likeliest"]
