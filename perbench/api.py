"""Everything that a trainer, an identifier or a dataset family imports; imports neither torch nor
transformers."""

from perbench.contracts.data import Example
from perbench.contracts.family import DatasetBuilder as Family
from perbench.contracts.family import RawData, Remote, Skip, mixed
from perbench.contracts.identifier import Identifier, PersonaText, TokenScores
from perbench.contracts.trainer import ReferenceLogp, TokenBatch, Trainer, View

__all__ = [
    "Example",
    "Family",
    "Identifier",
    "PersonaText",
    "RawData",
    "ReferenceLogp",
    "Remote",
    "Skip",
    "TokenBatch",
    "TokenScores",
    "Trainer",
    "View",
    "mixed",
]
