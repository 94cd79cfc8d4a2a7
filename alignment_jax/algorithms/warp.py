"""WARP (Rame et al., 2024, arXiv:2406.16768)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm, Metrics
from alignment_jax.models.base import Model
from alignment_jax.ops import guards
from alignment_jax.ops.means import Mean
from alignment_jax.types import Prompts, Rollout


def warp(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  beta: float,
  mu: float,
  eta: float,
  phase: int,
  members: int = 2,
) -> Algorithm:
  """Several policies that learn apart, are merged, and start again.

  Every member follows the gradient of

      reward - beta KL(member || its anchor)

  with the other responses to the prompt as the baseline, and after each step
  its anchor moves, anchor <- (1 - mu) anchor + mu member. After `phase`
  optimizer steps the members are merged by spherical interpolation of what they
  learnt, layer by layer, and pulled back:

      start <- (1 - eta) start + eta merged

  From there all members and anchors go on. `policy` is the first member; at the
  end of a phase it is the new start, so let a run end with a phase. The paper
  gives members their own order of the data: here they respond to the same
  prompts, each with samples of its own. Its phases are runs with a new
  optimizer: here the optimizer's state goes on.

  Args:
    model: the network; the slow state holds members + 2 of it.
    sampling: at least two samples, of each member.
    beta: strength of the KL regularization, >= 0, reward per nat; 0.1 in the
      paper.
    mu: rate of the anchors, in [0, 1]; 0.01 in the paper.
    eta: how far the start moves towards the merge, in [0, 1]; 0.3 in the paper.
    phase: optimizer steps between two merges, >= 1.
    members: policies that learn at once; 2 in the paper.
  """
  sampling.at_least(2, "warp")
  guards.non_negative(beta=beta)
  guards.fraction(mu=mu, eta=eta)
  guards.positive(phase=phase)
  if members < 2:
    raise ValueError(f"members must be >= 2, got {members}")
  count = sampling.samples
  # The first is the policy.
  names = ["policy", *(f"member_{i}" for i in range(2, members + 1))]

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    _, slow = rollouts.with_reference(key, policy_params)
    everywhere = {name: policy_params for name in names}
    return everywhere, {**slow, "anchors": everywhere, "start": policy_params}

  # The rollout holds K responses of each member, one member after the other:
  # [B, members * K, ...], so that a judge and the metrics see all alike.
  def by_member(array: Array) -> Array:
    """[B, members * K, ...] to [B, members, K, ...]."""
    return array.reshape(array.shape[0], members, count, *array.shape[2:])

  def joined(of_members: Sequence[PyTree]) -> PyTree:
    """The inverse: a list of [B, K, ...], one of each member."""
    return jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *of_members)

  def own_logprobs(params: PyTree, rollout: Rollout) -> Array:
    """[B, members * K, T]: of each member's responses under its parameters."""
    responses = jax.tree.map(by_member, rollout.responses)
    return joined(
      [
        rollouts.token_logprobs(
          model,
          params[name],
          rollout.prompt,
          jax.tree.map(lambda a, index=index: a[:, index], responses),
          sampling,
        )
        for index, name in enumerate(names)
      ]
    )

  def sample(
    trainable: PyTree, slow: PyTree, batch: Prompts, key: Key[Array, ""]
  ) -> Rollout:
    del slow
    sampled = []
    for index, name in enumerate(names):
      responses = rollouts.respond(
        model,
        trainable[name],
        batch.prompt,
        jax.random.fold_in(key, index),
        sampling,
        count,
      )
      sampled.append(
        rollouts.rollout_of(
          model, trainable[name], batch.prompt, responses, sampling
        )
      )
    return sampled[0].replace(
      responses=joined([rollout.responses for rollout in sampled]),
      logprobs=joined([rollout.logprobs for rollout in sampled]),
      ended=joined([rollout.ended for rollout in sampled]),
    )

  def extra(
    trainable: PyTree, slow: PyTree, experience: rollouts.Experience
  ) -> dict[str, Array]:
    del trainable
    rollout = experience.rollout
    log_ratios = rollouts.sequence_logprobs(
      rollout.logprobs - own_logprobs(slow["anchors"], rollout),
      rollout.responses,
    )
    rewards = experience.feedback.need("rewards") - beta * log_ratios
    # The baseline is the same member's other responses.
    advantages = losses.rloo_advantages(by_member(rewards))
    return {
      "advantages": advantages.reshape(rewards.shape),
      "log_ratios": log_ratios,
    }

  def loss(
    trainable: PyTree,
    slow: PyTree,
    batch: rollouts.Experience,
    key: Key[Array, ""] | None,
  ) -> tuple[Mean, Metrics]:
    del slow, key
    rollout = batch.rollout
    tokens = own_logprobs(trainable, rollout)
    per_response = losses.reinforce_loss(
      rollouts.sequence_logprobs(tokens, rollout.responses),
      batch.extra["advantages"],
    )
    # Each member's own mean, as if it learnt alone.
    total = rollouts.batch_mean(jnp.sum(by_member(per_response), axis=1))
    return total, {
      "loss": total,
      "kl/anchor": rollouts.batch_mean(batch.extra["log_ratios"]),
      **rollouts.rollout_metrics(batch, tokens),
    }

  def merged(trainable: PyTree, slow: PyTree) -> PyTree:
    start = slow["start"]
    # Layer by layer, as in the paper: the angle between two task vectors is
    # one number for each layer, not one for the whole stack.
    learnt = losses.slerp_merge(
      unstack_layers(start, model.axes),
      [unstack_layers(trainable[name], model.axes) for name in names],
    )
    return losses.interpolate_to_init(
      start, stack_layers(learnt, model.axes), eta=eta
    )

  def refresh(
    trainable: PyTree, slow: PyTree, step: Any, metrics: Mapping[str, Any]
  ) -> tuple[PyTree, PyTree]:
    del metrics
    anchors = {
      name: losses.ema(slow["anchors"][name], trainable[name], decay=1 - mu)
      for name in names
    }

    def merge_and_restart(trainable: PyTree) -> tuple[PyTree, PyTree, PyTree]:
      start = merged(trainable, slow)
      everywhere = {name: start for name in names}
      return everywhere, everywhere, start

    def go_on(trainable: PyTree) -> tuple[PyTree, PyTree, PyTree]:
      return trainable, anchors, slow["start"]

    # A cond, not a where: merging costs as much as all members' parameters,
    # and is needed once a phase.
    trainable, anchors, start = jax.lax.cond(
      step % phase == 0, merge_and_restart, go_on, trainable
    )
    return trainable, {**slow, "anchors": anchors, "start": start}

  return Algorithm(
    init,
    rollouts.sampled_from_policy(model, sampling, sample=sample, extra=extra),
    loss,
    refresh,
    frozenset({"policy"}),
  )


def unstack_layers(params: PyTree, axes: PyTree) -> PyTree:
  """Stacked layers as a list of layers, for what is done layer by layer."""
  return jax.tree.map(
    lambda leaf, names: list(leaf) if _is_stacked(names) else leaf, params, axes
  )


def stack_layers(params: PyTree, axes: PyTree) -> PyTree:
  """The inverse of `unstack_layers`."""
  return jax.tree.map(
    lambda names, leaf: jnp.stack(leaf) if _is_stacked(names) else leaf,
    axes,
    params,
    is_leaf=lambda node: isinstance(node, jax.P),
  )


def _is_stacked(names: jax.P) -> bool:
  return len(names) > 0 and names[0] == "layers"
