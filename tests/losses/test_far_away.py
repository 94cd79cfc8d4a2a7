"""Losses that share a batch, a group or a response stay finite far away.

`test_contract.py` asks the same of the others.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import losses

LENGTH_MASK = jnp.asarray([[True] * 3, [True, False, False], [False] * 3])


ENDED = jnp.asarray([True, False, True])


def _grpo(policy, old, reference, advantages):
  return losses.grpo_loss(
    policy,
    old,
    reference,
    advantages[:, 0],
    clip_low=0.2,
    clip_high=0.3,
    beta=0.1,
  )


def _copg_group(policy, reference, rewards):
  return losses.copg_group_loss(policy, reference, rewards, beta=0.1)


def _soft_q(q, v):
  return losses.soft_q_loss(q, v, LENGTH_MASK, ENDED, lam=0.1)


def _nash_md(policy, reference):
  wins = jnp.asarray([0.0, 0.5, 1.0])
  return losses.nash_md_pg_one_token_loss(policy, reference, wins, tau=0.1)


FAR = {
  "aot": (lambda *a: losses.aot_loss(*a, beta=0.1), 4),
  "aot_unpaired": (lambda *a: losses.aot_unpaired_loss(*a, beta=0.1), 4),
  "batch_variance": (
    lambda *a: losses.dro_batch_variance_loss(*a, tau=0.1),
    3,
  ),
  "grpo": (_grpo, 4),
  "copg_group": (_copg_group, 3),
  "soft_q": (_soft_q, 2),
  "nash_md_one_token": (_nash_md, 2),
  "rcfd_composite": (losses.rcfd_composite_reward, 2),
  "jbond_reward": (lambda s, a: losses.jbond_reward(s[:, 0], a), 2),
  "grpo_advantages": (losses.grpo_advantages, 1),
}


@pytest.mark.parametrize("function, count", FAR.values(), ids=FAR)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_nothing_breaks_ten_thousand_nats_away(function, count, dtype):
  for index in range(count):
    for far in (-1e4, 1e4):
      arrays = [jnp.full((3, 3), 0.25, dtype) for _ in range(count)]
      arrays[index] = arrays[index].at[1].set(far)
      value = function(*arrays)
      gradients = jax.grad(lambda *a: function(*a).sum(), range(count))(*arrays)
      for array in (value, *gradients):
        assert np.all(np.isfinite(np.asarray(array, np.float32)))
