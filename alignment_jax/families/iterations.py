"""What methods share that go in iterations.

In each iteration the responses are those of the policy at its start, `previous`
in the slow state; after so many optimiser steps the next one starts.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from alignment_jax import rollouts
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def sample_previous(model: Model, sampling: rollouts.Sampling) -> Callable:
  """`Rollouts.sample`: K responses of the previous policy to each prompt."""

  def sample(trainable, slow, batch, key):
    del trainable
    previous = slow["previous"]
    responses = rollouts.respond(
      model, previous, batch.prompt, key, sampling, sampling.samples
    )
    return rollouts.rollout_of(
      model, previous, batch.prompt, responses, sampling
    )

  return sample


def next_iteration(refresh_every: int) -> Callable:
  """`Algorithm.refresh`: the policy becomes the previous one, every so many
  optimiser steps.

  Raises:
    ValueError: refresh_every < 1.
  """
  guards.positive(refresh_every=refresh_every)

  def refresh(trainable, slow, step, metrics):
    del metrics
    now = step % refresh_every == 0
    previous = jax.tree.map(
      lambda old, new: jnp.where(now, new, old),
      slow["previous"],
      trainable["policy"],
    )
    return trainable, {**slow, "previous": previous}

  return refresh
