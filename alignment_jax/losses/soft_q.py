"""Inverse soft-Q learning for language: a policy's logits as soft Q values."""

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
  """The reward that each token must have had: Q_t - gamma V_{t+1}.

  Garg et al., 2021 (arXiv:2106.12142), the inverse Bellman operator, for
  text as in Wulfmeier et al., 2024 (arXiv:2409.01369): appending a token is
  the transition. After the last token V is 0. With gamma = 1 the rewards of a
  response that ended sum to V_0 + log policy(response).

  Args:
    chosen_q: logit of each token of the response.
    values: logsumexp of the logits at the same places.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response really ended. What comes after the last token
      of one that was cut is not known, and that token's reward is given as 0.
    gamma: discount, in [0, 1].

  Returns:
    One reward per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or gamma is out
      of range.
  """
  chosen_q, values, known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  return _rewards(chosen_q, values, known, last, gamma)


def soft_q_loss(
  chosen_q: Float[Array, "*batch T"],
  values: Float[Array, "*batch T"],
  mask: Bool[Array, "*batch T"],
  terminal: Bool[Array, "*batch"],
  *,
  lam: float,
  gamma: float = 1.0,
) -> Float[Array, "*batch T"]:
  """Likelihood of demonstrations, and small rewards along them.

  Wulfmeier et al., 2024 (arXiv:2409.01369), eq. 14, which is IQ-Learn with
  the chi-square regularizer on expert states, lam = 1 / (4 alpha):

      lam (Q_t - gamma V_{t+1})^2 - (Q_t - V_t)

  The gradient flows through V_{t+1} too. lam = 0 is `cross_entropy_loss`; large
  lam makes all demonstrated responses equally likely.

  Args:
    chosen_q: logit of each demonstrated token.
    values: logsumexp of the logits at the same places.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response really ended; the last token of one that was
      cut has no first term.
    lam: weight of the first term, >= 0.
    gamma: discount, in [0, 1].

  Returns:
    One loss per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or a
      coefficient is out of range.
  """
  chosen_q, values, known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  guards.non_negative(lam=lam)
  rewards = _rewards(chosen_q, values, known, last, gamma)
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
  """`soft_q_loss` with the model's own samples among the small rewards.

  The online variant of Wulfmeier et al., 2024 (arXiv:2409.01369), eq. 16:

      lam (1 - mix) (Q_t - gamma V_{t+1})^2 - (Q_t - V_t)    demonstrations
      lam mix (Q_t - gamma V_{t+1})^2                        own samples

  Take the mean over each of the two kinds by itself and add the two.

  Args:
    chosen_q: logit of each token.
    values: logsumexp of the logits at the same places.
    mask: which tokens are real; padding is on the right.
    terminal: whether the response really ended.
    is_expert: whether the response is a demonstration.
    lam: weight of the squares, >= 0.
    mix: share of own samples among them, in [0, 1]; 0 is `soft_q_loss`.
    gamma: discount, in [0, 1].

  Returns:
    One loss per token, 0 where padded.

  Raises:
    ValueError: shapes differ, an argument has the wrong dtype, or a
      coefficient is out of range.
  """
  chosen_q, values, known, last = _prepare(
    chosen_q, values, mask, terminal, gamma
  )
  guards.flags_of_shape(terminal.shape, "terminal", is_expert=is_expert)
  guards.non_negative(lam=lam)
  guards.fraction(mix=mix)
  squares = jnp.square(_rewards(chosen_q, values, known, last, gamma))
  return jnp.where(
    is_expert[..., None],
    lam * (1 - mix) * squares - (chosen_q - values),
    lam * mix * squares,
  )


def _prepare(chosen_q, values, mask, terminal, gamma):
  """Q and V with padding 0, where V_{t+1} is known, and where it is 0."""
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
  known = mask & (after | terminal[..., None])
  return (
    jnp.where(mask, chosen_q, 0.0),
    jnp.where(mask, values, 0.0),
    known,
    last,
  )


def _rewards(chosen_q, values, known, last, gamma):
  following = jnp.concatenate(
    [values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1
  )
  following = jnp.where(last, 0.0, following)
  return jnp.where(known, chosen_q - gamma * following, 0.0)
