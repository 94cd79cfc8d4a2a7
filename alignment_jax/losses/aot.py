"""Alignment via optimal transport: margins are matched by rank, not by pair."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alignment_jax.ops import guards, ratios


def aot_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """The policy's margins should exceed the reference's, quantile by quantile.

  Melnyk et al., 2024 (arXiv:2406.05882), the paired form. Margins
  chosen - rejected of policy and reference are each sorted over the whole
  batch, and DPO's loss is taken on the differences of equal rank. A batch of
  one pair gives `dpo_loss`.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per rank, smallest margin first, in the shape of the batch.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    Sorted margins are (1, 3) and (0, 2): a difference of 1 at each rank, so
    both losses are log(1 + exp(-1)).

    >>> policy, reference = jnp.array([3.0, 1.0]), jnp.array([0.0, 2.0])
    >>> zero = jnp.zeros(2)
    >>> loss = losses.aot_loss(policy, zero, reference, zero, beta=1.0)
    >>> [f"{x:.4f}" for x in loss]
    ['0.3133', '0.3133']
  """
  policy_chosen, policy_rejected, reference_chosen, reference_rejected = (
    guards.same_shape_floats(
      policy_chosen=policy_chosen,
      policy_rejected=policy_rejected,
      reference_chosen=reference_chosen,
      reference_rejected=reference_rejected,
    )
  )
  return _ranked(
    policy_chosen - policy_rejected,
    jax.lax.stop_gradient(reference_chosen - reference_rejected),
    beta=beta,
  )


def aot_unpaired_loss(
  policy_chosen: Float[Array, "*batch"],
  policy_rejected: Float[Array, "*batch"],
  reference_chosen: Float[Array, "*batch"],
  reference_rejected: Float[Array, "*batch"],
  *,
  beta: float,
) -> Float[Array, "*batch"]:
  """Chosen log-ratios should exceed rejected ones, quantile by quantile.

  Melnyk et al., 2024 (arXiv:2406.05882), the unpaired form. Log-ratios of
  chosen and of rejected responses are each sorted over the whole batch, and
  DPO's loss is taken on the differences of equal rank. Either list may be in
  any order: chosen and rejected responses need not share a prompt.

  Args:
    policy_chosen: log-probability of the preferred response, in nats, summed
      over its tokens. Likewise the next three.
    policy_rejected: the rejected response under the policy.
    reference_chosen: the preferred response under the reference; held constant.
    reference_rejected: the rejected one under the reference; held constant.
    beta: strength of the KL regularization, > 0, per nat.

  Returns:
    One loss per rank, smallest log-ratio first, in the shape of the batch.

  Raises:
    ValueError: shapes differ, an argument is not floating-point, or beta <= 0.

  Example:
    Sorted log-ratios are (1, 3) and (0, 2): a difference of 1 at each rank, so
    both losses are log(1 + exp(-1)).

    >>> chosen, rejected = jnp.array([3.0, 1.0]), jnp.array([0.0, 2.0])
    >>> zero = jnp.zeros(2)
    >>> loss = losses.aot_unpaired_loss(chosen, rejected, zero, zero, beta=1.0)
    >>> [f"{x:.4f}" for x in loss]
    ['0.3133', '0.3133']
  """
  chosen, rejected = ratios.of_pair(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected
  )
  return _ranked(chosen, rejected, beta=beta)


def _ranked(
  better: Float[Array, "*batch"], worse: Float[Array, "*batch"], *, beta: float
) -> Float[Array, "*batch"]:
  guards.positive(beta=beta)
  # In one dimension, optimal transport pairs equal ranks: sorting is enough.
  difference = jnp.sort(better.ravel()) - jnp.sort(worse.ravel())
  return -jax.nn.log_sigmoid(beta * difference.reshape(better.shape))
