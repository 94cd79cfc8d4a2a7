"""Iterative Nash policy optimization (Zhang et al., 2024, arXiv:2407.00617)."""

import functools

from jaxtyping import Array, Float, Key, PyTree

from alignment_jax import losses, rollouts
from alignment_jax.algorithm import Algorithm
from alignment_jax.families import iterations, offline_pairs, online_pairs
from alignment_jax.models.base import Model
from alignment_jax.ops import guards


def inpo(
  model: Model,
  *,
  sampling: rollouts.Sampling,
  eta: float,
  tau: float,
  choice: online_pairs.Choice,
  refresh_every: int,
) -> Algorithm:
  """Online mirror descent by regression on pairs of the previous policy.

  See `losses.inpo_loss`. With all pairs, each in expectation over its label,
  the minimum of an iteration is the mirror-descent step, and its fixed point
  the Nash policy of the game regularized by tau. The paper's experiments take
  the best and the worst of K = 8 responses by their mean preference instead,
  the best as the winner; a prompt whose responses are all equally good then
  gives no gradient.

  `log_ratio` among its metrics is over responses of the previous policy.

  Args:
    model: the network.
    sampling: at least two responses of the previous policy.
    eta: inverse step size, >= tau; 0.0075 in the paper.
    tau: strength of the KL regularization, > 0; a third of eta in the paper.
    choice: of pairs, `all` or `best_and_worst`.
    refresh_every: optimizer steps of an iteration, >= 1.
  """
  sampling.at_least(2, "inpo")
  guards.positive(eta=eta, tau=tau)
  guards.fraction(**{"tau / eta": tau / eta})
  loss = functools.partial(losses.inpo_loss, eta=eta, tau=tau)

  def init(
    key: Key[Array, ""] | None, policy_params: PyTree
  ) -> tuple[PyTree, PyTree]:
    trainable, slow = rollouts.with_reference(key, policy_params)
    return trainable, {**slow, "previous": policy_params}

  def pair_loss(
    probability: Float[Array, "B N"],
    policy: online_pairs.Couple,
    reference: online_pairs.Couple,
    sampled: online_pairs.Couple,
  ) -> Float[Array, "B N"]:
    return offline_pairs.expected_over_label(
      loss, probability, policy, reference, sampled
    )

  return online_pairs.from_pairs(
    model,
    sampling,
    choose=online_pairs.choice_named(choice),
    pair_loss=pair_loss,
    reward_scale=tau,
    sample=iterations.sample_previous(model, sampling),
    report=rollouts.offpolicy_metrics,
    init=init,
    refresh=iterations.next_iteration(refresh_every),
  )
