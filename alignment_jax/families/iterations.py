"""What methods share that go in iterations.

In each iteration the responses are those of the policy at its start, `previous`
in the slow state; after a fixed number of optimizer steps the next one starts.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import rollouts
from alignment_jax.algorithm import Refresh, Sample
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.types import Prompts, Rollout


def sample_previous(model: Model, sampling: rollouts.Sampling) -> Sample:
  """`Rollouts.sample`: K responses of the previous policy to each prompt."""

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    del trainable
    previous = slow["previous"]
    responses = rollouts.respond(
      model, previous, batch.prompt, key, sampling, sampling.samples
    )
    return rollouts.rollout_of(
      model, previous, batch.prompt, responses, sampling
    )

  return sample


def next_iteration(refresh_every: int) -> Refresh:
  """`Algorithm.refresh`: every `refresh_every` optimizer steps the policy
  becomes the previous one.

  Raises:
    ValueError: refresh_every < 1.
  """
  guards.positive(refresh_every=refresh_every)

  def refresh(
    trainable: PyTree, slow: PyTree, step: Any, metrics: Mapping[str, Any]
  ) -> tuple[PyTree, PyTree]:
    del metrics
    # Both branches are there in one program: the step is not known in it.
    now = step % refresh_every == 0
    previous = jax.tree.map(
      lambda old, new: jnp.where(now, new, old),
      slow["previous"],
      trainable["policy"],
    )
    return trainable, {**slow, "previous": previous}

  return refresh
