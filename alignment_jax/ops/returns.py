"""What came after each token: returns, advantages, and their whitening.

Time is the last axis. A sequence that is shorter than the axis has rewards and
values 0 behind its end, which then changes nothing.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards, means

# In the root of the variance, as in the code of Huang et al., 2024.
EPSILON = 1e-8


def discounted_returns(
  rewards: Float[Array, "*batch T"], *, gamma: float
) -> Float[Array, "*batch T"]:
  """G_t = r_t + gamma G_{t+1}, and 0 behind the last.

  Args:
    rewards: of each step.
    gamma: discount, in [0, 1].

  >>> discounted_returns(jnp.array([1.0, 2.0, 4.0]), gamma=0.5).tolist()
  [3.0, 4.0, 4.0]
  """
  guards.fraction(gamma=gamma)
  return _from_behind(rewards, gamma)


def gae(
  rewards: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  *,
  gamma: float,
  lambda_: float,
) -> Float[Array, "*batch T"]:
  """Generalized advantage estimates.

  Schulman et al., 2015 (arXiv:1506.02438), eq. 16, of an episode that ends with
  the last step:

      A_t = d_t + gamma lambda A_{t+1},  d_t = r_t + gamma V_{t+1} - V_t

  With lambda = 1 it is the discounted return less V_t, with lambda = 0 the
  one-step error d_t.

  Args:
    rewards: of each step.
    values: of the state before each step, in units of reward.
    gamma: discount, in [0, 1].
    lambda_: in [0, 1]; the share of what came later that is trusted over the
      values.
  """
  guards.fraction(gamma=gamma, lambda_=lambda_)
  rewards, values = guards.same_shape_floats(rewards=rewards, values=values)
  after = jnp.concatenate(
    [values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1
  )
  return _from_behind(rewards + gamma * after - values, gamma * lambda_)


def whiten(
  values: Float[Array, "*batch"], mask: Bool[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """Mean 0 and variance 1 over all entries where the mask is True, 0 elsewhere.

  The variance is the biased one. Entries that are all the same become 0.
  """
  mean, deviation = _moments(values, mask)
  return jnp.where(mask, (values - mean) / deviation, 0.0)


def whiten_keeping_mean(
  values: Float[Array, "*batch"], mask: Bool[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """As `whiten`, and the mean is put back: variance 1 around it."""
  mean, deviation = _moments(values, mask)
  return jnp.where(mask, (values - mean) / deviation + mean, 0.0)


def _moments(
  values: Float[Array, "*batch"], mask: Bool[Array, "*batch"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Mean and standard deviation of the entries where the mask is True."""
  weights = mask.astype(values.dtype)
  mean = means.weighted_mean(values, weights).value()
  variance = means.weighted_mean(jnp.square(values - mean), weights).value()
  return mean, jnp.sqrt(variance + EPSILON)


def _from_behind(
  steps: Float[Array, "*batch T"], decay: float | Array
) -> Float[Array, "*batch T"]:
  """x_t + decay x_{t+1} + decay^2 x_{t+2} + ..."""

  def add(after: Array, step: Array) -> tuple[Array, Array]:
    total = step + decay * after
    return total, total

  steps = jnp.moveaxis(steps, -1, 0)
  _, sums = jax.lax.scan(add, jnp.zeros_like(steps[0]), steps, reverse=True)
  return jnp.moveaxis(sums, 0, -1)
