"""A contextual bandit with a gold and a proxy reward.

Many prompts share one weight vector, so learning from one prompt changes the
policy on the others: the smallest world where off-policy data and an imperfect
reward model matter. All metrics are exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from alignment_jax.tabular import bandits, checks


class ContextualBandit(NamedTuple):
  """X prompts with Y responses each; a pytree, so worlds can be stacked.

  Attributes:
    features: [*batch, X, Y, D], shared by reward and policy.
    gold: [*batch, X, Y], the reward that counts.
    proxy: [*batch, X, Y], the reward that is trained on.
    log_reference: [*batch, X, Y], log-probabilities of the reference policy.
  """

  features: Array
  gold: Array
  proxy: Array
  log_reference: Array


def contextual_bandit(
  key: Array,
  *,
  prompts: int = 64,
  responses: int = 64,
  width: int = 32,
  gold_noise: float = 0.3,
  proxy_shift: float = 0.7,
  proxy_noise: float = 0.3,
) -> ContextualBandit:
  """Draws a world; `jax.vmap` over keys draws many.

  features ~ N(0, 1 / D); gold = features w + gold_noise e; proxy = gold +
  proxy_shift features w' + proxy_noise e'; w and w' ~ 1.5 N(0, 1), e and e'
  ~ N(0, 1); reference logits ~ N(0, 1).

  Args:
    key: consumed.
    prompts: X, at least 1.
    responses: Y, at least 1.
    width: D, at least 1.
    gold_noise: scale of the part of the gold reward that no feature explains.
    proxy_shift: scale of the proxy's error that features explain, and that
      training exploits.
    proxy_noise: scale of the proxy's error that no feature explains.

  Raises:
    ValueError: a size below 1.
  """
  checks.at_least(1, prompts=prompts, responses=responses, width=width)
  keys = jax.random.split(key, 6)
  shape = (prompts, responses)
  features = jax.random.normal(keys[0], (*shape, width)) / width**0.5
  gold_weights = 1.5 * jax.random.normal(keys[1], (width,))
  wrong_weights = 1.5 * jax.random.normal(keys[2], (width,))
  gold = _scores(features, gold_weights)
  gold += gold_noise * jax.random.normal(keys[3], shape)
  proxy = gold + proxy_shift * _scores(features, wrong_weights)
  proxy += proxy_noise * jax.random.normal(keys[4], shape)
  reference = jax.random.normal(keys[5], shape)
  return ContextualBandit(
    features, gold, proxy, jax.nn.log_softmax(reference, axis=-1)
  )


def contextual_log_policy(
  bandit: ContextualBandit, weights: Float[Array, "*batch D"]
) -> Float[Array, "*batch X Y"]:
  """log softmax(log reference + features weights); weights 0 is the reference.

  Raises:
    ValueError: `weights` does not fit the features.
  """
  features = bandit.features
  expected = (*features.shape[:-3], features.shape[-1])
  if weights.shape != expected:
    raise ValueError(f"weights has shape {weights.shape}, expected {expected}")
  return jax.nn.log_softmax(
    bandit.log_reference + _scores(features, weights), axis=-1
  )


def gold_win_rate(
  bandit: ContextualBandit, log_policy: Float[Array, "*batch X Y"]
) -> Float[Array, "*batch"]:
  """Probability that the policy's response has the higher gold reward.

  The opponent's response is an independent draw from the reference; equal
  rewards count half. Exact, averaged over prompts.

  Raises:
    ValueError: `log_policy` does not fit the world.
  """
  _check_policy(bandit, log_policy)
  gold, other = bandit.gold[..., :, None], bandit.gold[..., None, :]
  # Compared, not subtracted: a fused subtraction may not give 0 for x - x.
  wins = jnp.where(gold == other, 0.5, (gold > other).astype(gold.dtype))
  beaten = jnp.sum(wins * jnp.exp(bandit.log_reference)[..., None, :], axis=-1)
  return jnp.mean(bandits.expected(log_policy, beaten), axis=-1)


def reference_kl(
  bandit: ContextualBandit, log_policy: Float[Array, "*batch X Y"]
) -> Float[Array, "*batch"]:
  """KL(policy, reference) in nats, exact, averaged over prompts.

  Raises:
    ValueError: `log_policy` does not fit the world.
  """
  _check_policy(bandit, log_policy)
  return jnp.mean(bandits.kl(log_policy, bandit.log_reference), axis=-1)


def sample_responses(
  key: Array, log_policy: Float[Array, "*batch X Y"], *, samples: int
) -> Int[Array, "*batch X K"]:
  """K independent responses to each prompt.

  Args:
    key: consumed.
    log_policy: log-probabilities.
    samples: K, at least 1.

  Raises:
    ValueError: samples < 1.
  """
  checks.at_least(1, samples=samples)
  draws = jax.random.categorical(
    key, log_policy, shape=(samples, *log_policy.shape[:-1])
  )
  return jnp.moveaxis(draws, 0, -1)


def _scores(
  features: Float[Array, "*batch X Y D"], weights: Float[Array, "*batch D"]
) -> Float[Array, "*batch X Y"]:
  return jnp.einsum(
    "...xyd,...d->...xy",
    features,
    weights,
    precision=jax.lax.Precision.HIGHEST,
  )


def _check_policy(bandit: ContextualBandit, log_policy: Array) -> None:
  if log_policy.shape != bandit.gold.shape:
    raise ValueError(
      f"log_policy has shape {log_policy.shape}, expected {bandit.gold.shape}"
    )
