"""Preferences by a network that reads two responses in one prompt."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Float, Key

from alignment_jax.models import base, heads
from alignment_jax.ops import prompts
from alignment_jax.types import Tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
  """Token ids around two responses that a network reads in one prompt.

  What is read is

      prompt, before_first, first, before_second, second, after

  Attributes:
    before_first: ids between the prompt and the first response.
    before_second: ids between the two responses.
    after: ids behind the second, such as a question or the end of sequence.
  """

  before_first: tuple[int, ...]
  before_second: tuple[int, ...]
  after: tuple[int, ...] = ()


def template_of(parts: Sequence[Sequence[int]]) -> Template:
  """Ids around the two responses from three sequences of them.

  Raises:
    ValueError: there are other than three.
  """
  if len(parts) != 3:
    raise ValueError(
      "template must have three parts (before the first response, before the"
      f" second, after it), got {len(parts)}"
    )
  before_first, before_second, after = map(tuple, parts)
  return Template(
    before_first=before_first, before_second=before_second, after=after
  )


def pairwise_prompt(
  prompt: Tokens, first: Tokens, second: Tokens, template: Template
) -> Tokens:
  """One left-padded prompt that holds both responses, [B, sum of all lengths].

  Args:
    prompt: [B, T] prompts.
    first: [B, T] responses to them.
    second: [B, T] other responses, of any length T.
    template: ids around the responses.
  """
  return prompts.join(
    prompt,
    template.before_first,
    first,
    template.before_second,
    second,
    template.after,
  )


def preference_logits(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  first: Tokens,
  second: Tokens,
  *,
  template: Template,
  key: Key[Array, ""] | None = None,
) -> Float[Array, "B"]:
  """Log-odds that `first` is preferred, by a network that reads both.

  Munos et al., 2023 (arXiv:2312.00886): the preference may depend on both
  responses together, so it need not come from a reward. Both stand in one
  prompt that is encoded as any other, by T5's encoder or by a decoder; a scalar
  head reads the state behind it. It is what `losses.preference_model_loss`
  takes. The order of the responses matters; `preferences` averages over it.

  Args:
    model: the network.
    params: its parameters as `network`, and a scalar `head`.
    prompt: [B, T] prompts.
    first: [B, T] responses.
    second: [B, T] other responses.
    template: ids around the responses.
    key: turns dropout on.
  """
  whole = pairwise_prompt(prompt, first, second, template)
  context = model.encode(params["network"], whole, key=key)
  return heads.scalar(params["head"], context.last)


def swap_averaged(
  logits: Float[Array, "*batch"], swapped: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """(P(a, b) + 1 - P(b, a)) / 2, in [0, 1].

  With it P(a, b) + P(b, a) = 1, and a response ties with itself.

  Args:
    logits: log-odds that a wins, a read first.
    swapped: log-odds that b wins, b read first.
  """
  return 0.5 * (jax.nn.sigmoid(logits) + jax.nn.sigmoid(-swapped))


def preferences(
  model: base.Model,
  params: dict[str, Any],
  prompt: Tokens,
  first: Tokens,
  second: Tokens,
  *,
  template: Template,
) -> Float[Array, "B"]:
  """P(first is preferred to second), averaged over which is read first.

  Args are those of `preference_logits`.
  """
  logits, swapped = (
    preference_logits(model, params, prompt, *pair, template=template)
    for pair in ((first, second), (second, first))
  )
  return swap_averaged(logits, swapped)
