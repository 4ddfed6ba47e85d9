"""LaMP (arXiv 2304.11406), time split: as the user split, but split by time, not by user."""

from __future__ import annotations

from .lamp import HOME, LaMP, remotes_of


class LaMPTime(LaMP):
    """As lamp, of the time split: the same users in every split, their later texts in dev. A family of its
    own, so that each split is fetched without the other. No checksum of the files is known to us."""

    remotes = remotes_of(f"{HOME}/time")
