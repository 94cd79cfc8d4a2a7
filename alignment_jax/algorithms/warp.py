"""WARP (Rame et al., 2024, arXiv:2406.16768)."""

import jax
import jax.numpy as jnp

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


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
  optimiser steps the members are merged by spherical interpolation of what they
  learnt, layer by layer, and pulled back:

      start <- (1 - eta) start + eta merged

  From there all members and anchors go on. `policy` is the first member; at the
  end of a phase it is the new start, so let a run end with a phase. The paper
  gives members their own order of the data: here they answer the same prompts,
  each with samples of its own. Its phases are runs with a new optimiser: here
  the optimiser's state goes on.

  Args:
    model: the network; the slow state holds members + 2 of it.
    sampling: at least two samples, of each member.
    beta: strength of the KL regularisation, >= 0, reward per nat; 0.1 in the
      paper.
    mu: rate of the anchors, in [0, 1]; 0.01 in the paper.
    eta: how far the start moves towards the merge, in [0, 1]; 0.3 in the paper.
    phase: optimiser steps between two merges, >= 1.
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

  def init(key, policy_params):
    # Copies: the train state is donated, and no buffer can be donated twice.
    trainable, slow = rollouts.with_reference(key, policy_params)
    for name in names[1:]:
      trainable[name] = jax.tree.map(jnp.copy, policy_params)
    anchors = {name: jax.tree.map(jnp.copy, policy_params) for name in names}
    start = jax.tree.map(jnp.copy, policy_params)
    return trainable, {**slow, "anchors": anchors, "start": start}

  def columns(index):
    return slice(index * count, (index + 1) * count)

  def joined(parts):
    return jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *parts)

  def of_members(params, rollout):
    """[B, M K, T]: each member's log-probabilities of its own responses."""
    return joined(
      [
        rollouts.token_logprobs(
          model,
          params[name],
          rollout.prompt,
          jax.tree.map(lambda a, i=i: a[:, columns(i)], rollout.responses),
          sampling,
        )
        for i, name in enumerate(names)
      ]
    )

  def sample(trainable, slow, batch, key):
    del slow
    sampled = []
    for index, name in enumerate(names):
      params, own = trainable[name], jax.random.fold_in(key, index)
      responses = rollouts.respond(
        model, params, batch.prompt, own, sampling, count
      )
      sampled.append(
        rollouts.rollout_of(model, params, batch.prompt, responses, sampling)
      )
    return sampled[0].replace(
      responses=joined([r.responses for r in sampled]),
      logprobs=joined([r.logprobs for r in sampled]),
      ended=joined([r.ended for r in sampled]),
    )

  def extra(trainable, slow, experience):
    del trainable
    rollout = experience.rollout
    log_ratios = rollouts.sequence_logprobs(
      rollout.logprobs - of_members(slow["anchors"], rollout), rollout
    )
    rewards = experience.scores - beta * log_ratios
    groups = rewards.reshape(-1, members, count)
    advantages = losses.rloo_advantages(groups).reshape(rewards.shape)
    return {"advantages": advantages, "log_ratios": log_ratios}

  def loss(trainable, slow, batch, key):
    del slow, key
    rollout = batch.rollout
    tokens = of_members(trainable, rollout)
    per_response = losses.reinforce_loss(
      rollouts.sequence_logprobs(tokens, rollout), batch.extra["advantages"]
    )
    # Each member's own mean, as if it learnt alone.
    total = rollouts.batch_mean(
      jnp.sum(per_response.reshape(-1, members, count), axis=1)
    )
    return total, {
      "loss": total,
      "kl/anchor": rollouts.batch_mean(batch.extra["log_ratios"]),
      **rollouts.rollout_metrics(batch, tokens),
    }

  def merged(trainable, slow):
    start = slow["start"]
    learnt = losses.slerp_merge(
      _apart(start, model.axes),
      [_apart(trainable[name], model.axes) for name in names],
    )
    return losses.interpolate_to_init(
      start, _together(learnt, model.axes), eta=eta
    )

  def refresh(trainable, slow, step, metrics):
    del metrics
    anchors = {
      name: losses.ema(slow["anchors"][name], trainable[name], decay=1 - mu)
      for name in names
    }

    def again(trainable):
      start = merged(trainable, slow)
      everywhere = {name: start for name in names}
      return everywhere, everywhere, start

    def on(trainable):
      return trainable, anchors, slow["start"]

    trainable, anchors, start = jax.lax.cond(
      step % phase == 0, again, on, trainable
    )
    return trainable, {**slow, "anchors": anchors, "start": start}

  return Algorithm(
    init,
    rollouts.sampled_from_policy(model, sampling, sample=sample, extra=extra),
    loss,
    refresh,
    frozenset({"policy"}),
  )


def _apart(params, axes):
  """Stacked layers as a list of layers, for what is done layer by layer."""
  return jax.tree.map(
    lambda leaf, names: list(leaf) if _is_stacked(names) else leaf, params, axes
  )


def _together(params, axes):
  """The inverse of `_apart`."""
  return jax.tree.map(
    lambda names, leaf: jnp.stack(leaf) if _is_stacked(names) else leaf,
    axes,
    params,
    is_leaf=lambda node: isinstance(node, jax.P),
  )


def _is_stacked(names):
  return len(names) > 0 and names[0] == "layers"
