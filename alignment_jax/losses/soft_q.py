"""Inverse soft-Q learning: a policy's logits are read as soft Q values."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alignment_jax.ops import guards


def soft_q_rewards(
  chosen_q: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  terminal: Bool[Array, "*batch"],
  *,
  gamma: float = 1.0,
) -> Float[Array, "*batch T"]:
  """The reward that the logits imply for each token: Q_t - gamma V_{t+1}.

  Garg et al., 2021 (arXiv:2106.12142), the inverse Bellman operator, for
  text as in Wulfmeier et al., 2024 (arXiv:2409.01369): appending a token is
  the transition. After the last token V is 0. With gamma = 1 the rewards of a
  response that ended sum to V_0 + log policy(response).

  Args:
    chosen_q: logit of each token of the response.
    values: logsumexp of the logits at the same positions.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response ended. If it was truncated, the value after
      its last token is unknown, and that token's reward is set to 0.
    gamma: discount, in [0, 1].

  Returns:
    One reward per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or gamma is out
      of range.

  Example:
    1 - 0.5 * 4, and 2 for the last token.

    >>> q, values = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])
    >>> mask, terminal = jnp.full((1, 2), True), jnp.array([True])
    >>> losses.soft_q_rewards(q, values, mask, terminal, gamma=0.5).tolist()
    [[-1.0, 2.0]]
  """
  chosen_q, values, value_known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  return _rewards(chosen_q, values, value_known, last, gamma)


def soft_q_loss(
  chosen_q: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  terminal: Bool[Array, "*batch"],
  *,
  lam: float,
  gamma: float = 1.0,
) -> Float[Array, "*batch T"]:
  """Likelihood of demonstrations, with implied rewards kept small.

  Wulfmeier et al., 2024 (arXiv:2409.01369), eq. 14, which is IQ-Learn with
  the chi-square regularizer on expert states, lam = 1 / (4 alpha):

      lam (Q_t - gamma V_{t+1})^2 - (Q_t - V_t)

  The gradient flows through V_{t+1} too. lam = 0 is `cross_entropy_loss`; large
  lam makes all demonstrated responses equally likely.

  Args:
    chosen_q: logit of each demonstrated token.
    values: logsumexp of the logits at the same positions.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response ended; if it was truncated, its last token
      has no first term.
    lam: weight of the first term, >= 0.
    gamma: discount, in [0, 1].

  Returns:
    One loss per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or a
      coefficient is out of range.

  Example:
    The rewards are -1 and 2: (-1)^2 - (1 - 3) and 2^2 - (2 - 4).

    >>> q, values = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])
    >>> mask, terminal = jnp.full((1, 2), True), jnp.array([True])
    >>> losses.soft_q_loss(
    ...   q, values, mask, terminal, lam=1.0, gamma=0.5
    ... ).tolist()
    [[3.0, 6.0]]
  """
  chosen_q, values, value_known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  guards.non_negative(lam=lam)
  rewards = _rewards(chosen_q, values, value_known, last, gamma)
  return lam * jnp.square(rewards) - (chosen_q - values)


def soft_q_mixed_loss(
  chosen_q: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  terminal: Bool[Array, "*batch"],
  is_expert: Bool[Array, "*batch"],
  *,
  lam: float,
  mix: float,
  gamma: float = 1.0,
) -> Float[Array, "*batch T"]:
  """`soft_q_loss` that keeps the rewards of the policy's samples small too.

  The online variant of Wulfmeier et al., 2024 (arXiv:2409.01369), eq. 16:

      lam (1 - mix) (Q_t - gamma V_{t+1})^2 - (Q_t - V_t)    demonstrations
      lam mix (Q_t - gamma V_{t+1})^2                        policy samples

  Average demonstrations and samples separately, and add the two means.

  Args:
    chosen_q: logit of each token.
    values: logsumexp of the logits at the same positions.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response ended.
    is_expert: whether the response is a demonstration.
    lam: weight of the squares, >= 0.
    mix: share of the policy's samples in them, in [0, 1]; 0 is `soft_q_loss`.
    gamma: discount, in [0, 1].

  Returns:
    One loss per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or a
      coefficient is out of range.

  Example:
    A sample of the policy with rewards -1 and 2: 0.25 (-1)^2 and 0.25 * 2^2.

    >>> q, values = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])
    >>> mask, terminal = jnp.full((1, 2), True), jnp.array([True])
    >>> losses.soft_q_mixed_loss(
    ...   q, values, mask, terminal, jnp.array([False]),
    ...   lam=1.0, mix=0.25, gamma=0.5,
    ... ).tolist()
    [[0.25, 1.0]]
  """
  chosen_q, values, value_known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  guards.flags_of_shape(terminal.shape, "terminal", is_expert=is_expert)
  guards.non_negative(lam=lam)
  guards.fraction(mix=mix)
  squares = jnp.square(_rewards(chosen_q, values, value_known, last, gamma))
  return jnp.where(
    is_expert[..., None],
    lam * (1 - mix) * squares - (chosen_q - values),
    lam * mix * squares,
  )


def _prepare(
  chosen_q: Array, values: Array, mask: Array, terminal: Array, gamma: float
) -> tuple[
  Float[Array, "*batch T"],
  Float[Array, "*batch T"],
  Bool[Array, "*batch T"],
  Bool[Array, "*batch T"],
]:
  """Checks; then Q and V with padding 0, where V_{t+1} is known, where it is 0.

  Shapes and dtypes are checked here rather than by the annotations.
  """
  chosen_q, values = guards.same_shape_floats(chosen_q=chosen_q, values=values)
  guards.flags_of_shape(chosen_q.shape, "chosen_q", mask=mask)
  guards.flags_of_shape(
    chosen_q.shape[:-1], "a token of each response", terminal=terminal
  )
  guards.fraction(gamma=gamma)
  after = jnp.concatenate(
    [mask[..., 1:], jnp.zeros_like(mask[..., :1])], axis=-1
  )
  last = mask & ~after
  # Truncated: the last real token's successor was never seen.
  value_known = mask & (after | terminal[..., None])
  return (
    jnp.where(mask, chosen_q, 0.0),
    jnp.where(mask, values, 0.0),
    value_known,
    last,
  )


def _rewards(
  chosen_q: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  value_known: Bool[Array, "*batch T"],
  last: Bool[Array, "*batch T"],
  gamma: float,
) -> Float[Array, "*batch T"]:
  next_values = jnp.concatenate(
    [values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1
  )
  next_values = jnp.where(last, 0.0, next_values)
  return jnp.where(value_known, chosen_q - gamma * next_values, 0.0)
