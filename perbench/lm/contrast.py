"""Log-probs of response tokens with and without the persona, shared by PerContrast, PerCE and NextQuill.

Sequences are padded on the right without an attention mask: under causal attention padding cannot affect
earlier tokens, and attention keeps its fast path. The head is applied only at positions that predict response
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from perbench.lm.padding import batches, even_groups, slack

if TYPE_CHECKING:
    from torch import Tensor, nn

    from perbench.lm.head import Head


class Pair(Protocol):
    """Token ids of a response and of the two prompts that it follows (`perbench.prompts.pair`)."""

    @property
    def factual(self) -> tuple[int, ...]: ...

    @property
    def counterfactual(self) -> tuple[int, ...]: ...

    @property
    def response(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Contrast:
    """Natural-log probabilities [n] of one response's tokens in the two contexts, float32."""

    factual: Tensor
    counterfactual: Tensor


def joined(parts: Sequence[Contrast]) -> Contrast:
    """One after the other."""
    import torch

    if len(parts) == 1:
        return parts[0]
    return Contrast(
        torch.cat([part.factual for part in parts]), torch.cat([part.counterfactual for part in parts])
    )


def response_hidden(
    body: Any, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> Tensor:
    """States [N, D] at the positions that predict the response tokens, over all responses in order. Duplicate
    sequences are computed once. With flash attention, one unpadded pass reads all; otherwise, one padded pass
    reads each group of similar length."""
    import torch

    device = next(body.parameters()).device
    sequences: dict[tuple[int, ...], int] = {}
    ends = []
    for prompt, response in zip(prompts, responses, strict=True):
        row = sequences.setdefault((*prompt, *response[:-1]), len(sequences))
        ends.append((row, len(prompt) - 1, len(response)))
    rows = list(sequences)
    first = [0] * len(rows)
    passes, length = [], 0
    if packs(body):
        passes.append(_packed(body, rows))
        for index in range(len(rows)):
            first[index], length = length, length + len(rows[index])
    else:
        for group in even_groups([len(row) for row in rows], slack(body, device)):
            width = len(rows[group[0]])
            ids = torch.tensor([[*rows[i], *[0] * (width - len(rows[i]))] for i in group], device=device)
            passes.append(body(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1))
            for index in group:
                first[index], length = length, length + width
    places = [
        place for row, start, size in ends for place in range(first[row] + start, first[row] + start + size)
    ]
    states = passes[0] if len(passes) == 1 else torch.cat(passes)
    return states.index_select(0, torch.tensor(places, device=device))


def packs(body: Any) -> bool:
    """Whether attention can read concatenated sequences without attending across them."""
    return str(body.config._attn_implementation).startswith("flash")


def _packed(body: Any, rows: Sequence[tuple[int, ...]]) -> Tensor:
    """States [tokens, D] of the concatenated sequences, separated by restarting positions."""
    import torch

    ids = torch.tensor([[token for row in rows for token in row]], device=body.device)
    places = torch.tensor([[place for row in rows for place in range(len(row))]], device=body.device)
    states: Tensor = body(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state[0]
    return states


def response_logp(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    token_budget: int = 8192,
) -> list[Tensor]:
    """Natural-log probability of every response token given its prompt and the response before it.

    Args:
        token_budget: padded tokens of one forward pass.

    Returns: one float32 tensor [len(response)] per pair, in order, on the CPU. Equal pairs, and long prefixes
    shared by prompts (`perbench.lm.prefix`), are computed once.

    Raises:
        PerbenchError: an empty prompt, a sequence beyond the model's context, a model whose head cannot be
            applied separately, or non-finite log-probs.
    """
    from perbench.lm.finite import check_finite

    def logp(head: Head, hidden: Tensor, targets: Tensor) -> Tensor:
        values = head.logp(hidden, targets).float().cpu()
        check_finite(values, "log-probs")
        return values

    return _read(model, prompts, responses, token_budget, logp)


def divergence(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    token_budget: int = 8192,
) -> list[Tensor]:
    """KL(P(. | other prompt, response before) || P(. | prompt, response before)) in nats at every response
    token; arguments, shapes and errors as in `response_logp`."""
    import torch

    from perbench.lm.finite import check_finite
    from perbench.lm.head import body_and_head

    both = [*prompts, *others], [*responses, *responses]
    states = _read(model, *both, token_budget, lambda head, hidden, targets: hidden)
    with torch.no_grad():
        _, head = body_and_head(model)
        found = []
        for ours, theirs in zip(states[: len(prompts)], states[len(prompts) :], strict=True):
            values = head.kl(theirs, ours).float().cpu() if len(ours) else torch.zeros(0)
            check_finite(values, "divergences")
            found.append(values)
    return found


def _read(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    token_budget: int,
    of: Callable[[Head, Tensor, Tensor], Tensor],
) -> list[Tensor]:
    """What `of` makes, [n, ...], of the head, the states [n, D] that predict a response's tokens, and these
    tokens [n]; see `response_logp`."""
    import torch

    from perbench.errors import PerbenchError
    from perbench.lm.context import check_context, context_of
    from perbench.lm.head import body_and_head, evaluating

    room = context_of(model.config)

    unique: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    places = []
    for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if not len(prompt):
            raise PerbenchError(
                f"prompt {index} is empty: nothing predicts the first response token; use a chat template"
            )
        check_context(room, len(prompt), len(response), what=f"sequence {index}")
        places.append(unique.setdefault((tuple(prompt), tuple(response)), len(unique)))
    pairs = list(unique)
    results: list[Tensor] = [torch.zeros(0)] * len(pairs)
    full = [index for index, (_, response) in enumerate(pairs) if response]
    with torch.no_grad(), evaluating(model):
        body, head = body_and_head(model)
        for group, hidden in _hidden(body, [pairs[i] for i in full], token_budget):
            members = [full[i] for i in group]
            answers = [pairs[i][1] for i in members]
            targets = torch.tensor([token for answer in answers for token in answer], device=hidden.device)
            values = of(head, hidden, targets)
            for index, part in zip(members, torch.split(values, [len(a) for a in answers]), strict=True):
                results[index] = part
    return [results[place] for place in places]


def _hidden(
    body: nn.Module, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], token_budget: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of (indices of pairs, their `response_hidden`). Prompts with a common prefix are read once."""
    from perbench.lm.prefix import can_continue, continued_hidden, shared_prefixes

    prompts, responses = [prompt for prompt, _ in pairs], [response for _, response in pairs]
    groups = shared_prefixes(prompts) if can_continue(body) else []
    shared = [(prefix, members) for prefix, members in groups if prefix]
    yield from continued_hidden(body, shared, prompts, responses, token_budget)
    alone = sorted({*range(len(pairs))}.difference(*(members for _, members in shared)))
    for group in batches([len(prompts[i]) + len(responses[i]) - 1 for i in alone], token_budget):
        members = [alone[i] for i in group]
        chosen = [prompts[i] for i in members], [responses[i] for i in members]
        yield members, response_hidden(body, *chosen)


def contrast(model: nn.Module, pairs: Sequence[Pair], *, token_budget: int = 8192) -> list[Contrast]:
    """Both contexts of every pair; see `response_logp`. Duplicate persona-free sequences are computed
    once."""
    responses = [pair.response for pair in pairs]
    factual = response_logp(model, [pair.factual for pair in pairs], responses, token_budget=token_budget)
    free = response_logp(model, [pair.counterfactual for pair in pairs], responses, token_budget=token_budget)
    return [Contrast(*both) for both in zip(factual, free, strict=True)]
