"""Part-of-speech tags by NLTK's averaged perceptron tagger, with weights from a package instead of a
download.

The tagger's code was ported from the package textblob-aptagger, whose wheel still holds weights for it; they
are read from there. The package itself is never imported, and the pickle may build only plain containers.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from perbench.errors import PerbenchError
from perbench.text.words import Span

if TYPE_CHECKING:
    from nltk.tag.perceptron import PerceptronTagger

REQUIREMENT = "textblob-aptagger==0.2.0"
FILE = "trontagger-0.1.0.pickle"
SHA256 = "1109164b3d28dce58f96b763128bab2fd8754c3921fd3330de2724ac6d1ada7c"
CONTENT = ("NN", "VB", "JJ", "RB")
"""Penn Treebank tag prefixes of nouns, verbs, adjectives and adverbs."""
BE = {"be", "am", "is", "are", "was", "were", "been", "being", "'m", "'s", "'re"}
HAVE_DO = {"have", "has", "had", "having", "'ve", "'d", "do", "does", "did", "doing"}
FUNCTION = frozenset({*BE, *HAVE_DO, "not", "n't"})
"""Function words that the Penn Treebank tags as verbs and adverbs: auxiliaries and negation."""


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every global but `set`, so that unpickling cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("__builtin__", "set"):
            return set
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


@lru_cache(maxsize=1)
def tagger() -> PerceptronTagger:
    """The tagger with its weights.

    Raises:
        PerbenchError: the package with the weights is missing, or its file differs from the known one.
    """
    from importlib.util import find_spec
    from pathlib import Path

    install = f"pip install --no-deps {REQUIREMENT}"
    spec = find_spec("textblob_aptagger")
    if spec is None or spec.origin is None:
        raise PerbenchError(f"part-of-speech tagging needs the weights in {REQUIREMENT}; run: {install}")
    path = Path(spec.origin).with_name(FILE)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise PerbenchError(f"{path} is not the file of {REQUIREMENT}; run: {install} --force-reinstall")

    from nltk.tag.perceptron import PerceptronTagger

    found = PerceptronTagger(load=False)
    weights, found.tagdict, classes = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    found.model.weights, found.model.classes = weights, classes
    return found


def tagged_words(text: str) -> list[tuple[Span, bool]]:
    """The words of `text` (Penn Treebank tokens, without bare punctuation), in order, each with whether it is
    a content word: a noun, verb, adjective or adverb, but not an auxiliary or negation."""
    from nltk.tokenize import NLTKWordTokenizer

    words: list[tuple[Span, bool]] = []
    for sentence in re.finditer(r"\S.*?(?:[.!?]+(?=\s)|\Z)", text, re.DOTALL):
        offset, line = sentence.start(), sentence.group()
        spans = list(NLTKWordTokenizer().span_tokenize(line))
        tagged = tagger().tag([line[start:end] for start, end in spans])
        words += [
            ((offset + start, offset + end), tag.startswith(CONTENT) and word.lower() not in FUNCTION)
            for (start, end), (word, tag) in zip(spans, tagged, strict=True)
            if any(map(str.isalnum, word))
        ]
    return words
