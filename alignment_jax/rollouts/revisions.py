"""Responses that the policy is shown and improves (Choi et al., 2024).

Self-improving robust preference optimization, arXiv:2406.01660.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from alignment_jax.models.base import Model, Params
from alignment_jax.ops import guards, prompts
from alignment_jax.sampling import generate
from alignment_jax.types import Tokens


def revision_prompt(
  prompt: Tokens, shown: Tokens, template: Sequence[Sequence[int]]
) -> Tokens:
  """The prompt and the response that is to be improved, as one prompt.

  Args:
    prompt: [B, T] prompts.
    shown: [B, T] responses to them.
    template: token ids before and after the response.

  Raises:
    ValueError: the template has other than two parts.
  """
  check_template(template)
  before, after = map(tuple, template)
  return prompts.join(prompt, before, shown, after)


def self_revise(
  model: Model,
  params: Params,
  prompt: Tokens,
  key: Key[Array, ""],
  *,
  template: Sequence[Sequence[int]],
  revisions: int,
  **settings: Any,
) -> Tokens:
  """A response to each prompt, improved so many times.

  y_0 ~ policy(. | x), then y_{k + 1} ~ policy(. | x, y_k); the paper goes to 5.

  Args:
    model: the network.
    params: of the policy.
    prompt: [B, T] prompts.
    key: of the sampling; y_k uses `fold_in(key, k)`.
    template: as in training.
    revisions: N, >= 0.
    **settings: of `sampling.generate`, such as `eos_id` and `max_tokens`.

  Returns:
    y_0 to y_N, [B, N + 1, T].
  """
  guards.non_negative(revisions=revisions)

  def respond(prompt: Tokens, number: Int[Array, ""] | int) -> Tokens:
    responses = generate(
      model, params, prompt, jax.random.fold_in(key, number), **settings
    ).responses
    return jax.tree.map(lambda a: a[:, 0], responses)

  def revise(shown: Tokens, number: Int[Array, ""]) -> tuple[Tokens, Tokens]:
    revised = respond(revision_prompt(prompt, shown, template), number)
    return revised, revised

  first = respond(prompt, 0)
  # One program for all revisions.
  _, later = jax.lax.scan(revise, first, jnp.arange(1, revisions + 1))
  return jax.tree.map(
    lambda a, b: jnp.concatenate([a[:, None], jnp.moveaxis(b, 0, 1)], axis=1),
    first,
    later,
  )


def check_template(template: Sequence[Sequence[int]]) -> None:
  """Refuses a template that has other than two parts.

  Raises:
    ValueError: says how many it has.
  """
  if len(template) != 2:
    raise ValueError(
      "template must have two parts (before and after the response that is"
      f" shown), got {len(template)}"
    )
