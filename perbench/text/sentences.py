"""English sentences by Punkt (Kiss & Strunk 2006), with parameters from a package instead of a download."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, in order, as by NLTK's sent_tokenize."""
    found: list[str] = _punkt().tokenize(text)
    return found


@lru_cache(maxsize=1)
def _punkt() -> Any:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from punkt.data import english

    params = PunktParameters()
    params.abbrev_types = set(english.ABBREV_TYPES)
    params.collocations = set(english.COLLOCATIONS)
    params.sent_starters = set(english.SENT_STARTERS)
    params.ortho_context.update(english.ORTHO_CONTEXT)
    return PunktSentenceTokenizer(params)
