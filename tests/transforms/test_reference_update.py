"""What happens to policy and reference between updates, by whole updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from alignment_jax import algorithms, errors, rollouts, types
from alignment_jax.training import state, step
from alignment_jax.transforms import lora, reference_update

DECAY, PERIOD = 0.8, 3


def pairs(world):
  """The first response against each of the others."""
  others = world.responses.ids.shape[1] - 1

  def repeated(tokens):
    return jax.tree.map(lambda a: jnp.repeat(a, others, axis=0), tokens)

  ones = jnp.ones((others,))
  return types.PreferencePair(
    repeated(world.prompt),
    repeated(jax.tree.map(lambda a: a[:, 0], world.responses)),
    jax.tree.map(lambda a: a[0, 1:], world.responses),
    ones,
    ones,
  )


def histories(algorithm, world, steps, batch):
  """The states before and after each of so many updates by Adam."""
  optimizer = optax.adam(0.1)
  key = jax.random.key(0)
  update = jax.jit(step.make_update(algorithm, optimizer))
  make = jax.jit(
    lambda start: state.make_state(algorithm, optimizer, key, start)
  )
  states = [make(world.policy)]
  for _ in range(steps):
    states.append(update(states[-1], batch, key)[0])
  return states


def same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def close(one, other):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    one,
    other,
  )


def by_dpo(world, refresher, steps, **settings):
  algorithm = refresher(algorithms.dpo(world.model, beta=0.5), **settings)
  return histories(algorithm, world, steps, pairs(world))


def updated(before, world):
  """The policy and the optimiser after one update without any reset."""
  plain = algorithms.dpo(world.model, beta=0.5)
  update = jax.jit(step.make_update(plain, optax.adam(0.1)))
  after, _ = update(
    before.replace(slow=before.slow["method"]), pairs(world), jax.random.key(0)
  )
  return after


def test_between_resets_the_average_follows_the_policy(table_world):
  states = by_dpo(
    table_world,
    reference_update.elastic_reset,
    PERIOD - 1,
    decay=DECAY,
    period=PERIOD,
  )
  average = table_world.policy
  for now in states[1:]:
    average = jax.tree.map(
      lambda old, new: DECAY * old + (1 - DECAY) * new,
      average,
      now.trainable["policy"],
    )
    close(now.slow["average"], average)


def test_a_reset_takes_the_average_and_then_the_start(table_world):
  states = by_dpo(
    table_world,
    reference_update.elastic_reset,
    PERIOD + 1,
    decay=DECAY,
    period=PERIOD,
  )
  before, after, later = states[PERIOD - 1], states[PERIOD], states[PERIOD + 1]
  learnt = updated(before, table_world)
  average = jax.tree.map(
    lambda old, new: DECAY * old + (1 - DECAY) * new,
    before.slow["average"],
    learnt.trainable["policy"],
  )
  close(after.trainable["policy"], average)
  same(after.slow["average"], table_world.policy)
  same(after.slow["initial"], table_world.policy)
  # The optimiser goes on as if nothing had happened.
  close(after.optimizer_state, learnt.optimizer_state)
  close(
    later.slow["average"],
    jax.tree.map(
      lambda old, new: DECAY * old + (1 - DECAY) * new,
      table_world.policy,
      later.trainable["policy"],
    ),
  )


def test_without_memory_a_reset_changes_no_policy(table_world):
  states = by_dpo(
    table_world,
    reference_update.elastic_reset,
    PERIOD,
    decay=0.0,
    period=PERIOD,
  )
  learnt = updated(states[PERIOD - 1], table_world)
  close(states[PERIOD].trainable["policy"], learnt.trainable["policy"])


def test_an_average_that_never_moves_makes_it_a_hard_reset(table_world):
  states = by_dpo(
    table_world,
    reference_update.elastic_reset,
    PERIOD,
    decay=1.0,
    period=PERIOD,
  )
  assert not np.array_equal(
    states[PERIOD - 1].trainable["policy"]["first"], table_world.policy["first"]
  )
  same(states[PERIOD].trainable["policy"], table_world.policy)


def test_a_value_network_is_never_reset(world):
  algorithm = reference_update.elastic_reset(
    algorithms.dro(world.model, tau=1.0), decay=1.0, period=1
  )
  rewards = jnp.asarray(np.random.default_rng(0).normal(size=(1, 13)))
  batch = types.ScoredResponses(
    world.prompt, world.responses, rewards.astype(jnp.float32)
  )
  first, last = histories(algorithm, world, 1, batch)
  same(last.trainable["policy"], world.policy)
  moved = jax.tree.map(
    lambda a, b: float(jnp.max(jnp.abs(a - b))),
    first.trainable["value"],
    last.trainable["value"],
  )
  assert min(jax.tree.leaves(moved["head"])) > 0
  assert max(jax.tree.leaves(moved["network"])) > 0


def test_a_method_that_samples_sees_its_own_slow_state(table_world):
  world = table_world
  sampling = rollouts.Sampling(
    samples=2, max_tokens=2, temperature=1.0, eos_id=1
  )
  plain = algorithms.rloo(world.model, sampling=sampling, beta=0.1)
  reset = reference_update.elastic_reset(plain, decay=DECAY, period=PERIOD)
  key = jax.random.key(0)
  trainable, slow = reset.init(key, world.policy)
  rollout, indices = world.rollout(2, world.policy)
  feedback = types.Feedback(rewards=jnp.asarray(indices, jnp.float32))
  of_reset = jax.jit(reset.rollouts.prepare)(trainable, slow, rollout, feedback)
  of_plain = jax.jit(plain.rollouts.prepare)(
    *plain.init(key, world.policy), rollout, feedback
  )
  same(of_reset, of_plain)
  prompts = types.Prompts(world.prompt)
  same(
    jax.jit(reset.rollouts.sample)(trainable, slow, prompts, key),
    jax.jit(plain.rollouts.sample)(trainable, slow["method"], prompts, key),
  )


def test_the_reference_follows_as_an_average(table_world):
  states = by_dpo(table_world, reference_update.ema, 3, decay=DECAY)
  reference = table_world.policy
  for now in states[1:]:
    reference = jax.tree.map(
      lambda old, new: DECAY * old + (1 - DECAY) * new,
      reference,
      now.trainable["policy"],
    )
    close(now.slow["reference"], reference)


def test_the_reference_is_copied_now_and_then(table_world):
  states = by_dpo(table_world, reference_update.periodic_copy, 5, every=2)
  want = [0, 0, 2, 2, 4, 4]
  for now, source in zip(states, want, strict=True):
    same(now.slow["reference"], states[source].trainable["policy"])


@pytest.mark.parametrize(
  "name, settings",
  [("ema", {"decay": 0.5}), ("periodic_copy", {"every": 2})],
)
def test_a_method_without_a_reference_cannot_move_it(
  table_world, name, settings
):
  algorithm = reference_update.REFERENCE_UPDATES[name](
    algorithms.sft(table_world.model), **settings
  )
  with pytest.raises(
    errors.UserError,
    match=f"reference update '{name}' moves a method's reference",
  ):
    algorithm.init(jax.random.key(0), table_world.policy)


@pytest.mark.parametrize(
  "name, settings, message",
  [
    ("ema", {"decay": 1.5}, "decay"),
    ("periodic_copy", {"every": 0}, "every"),
    ("elastic_reset", {"decay": -0.1, "period": 3}, "decay"),
    ("elastic_reset", {"decay": 0.5, "period": 0}, "period"),
  ],
)
def test_settings_out_of_range_are_refused(
  table_world, name, settings, message
):
  with pytest.raises(ValueError, match=message):
    reference_update.REFERENCE_UPDATES[name](
      algorithms.dpo(table_world.model, beta=0.5), **settings
    )


LORA = dict(rank=2, alpha=4.0, targets=("*/attention/*/kernel",))


def test_adapters_fall_back_to_their_average(world):
  algorithm = reference_update.elastic_reset(
    lora.with_lora(algorithms.dpo(world.model, beta=0.5), world.model, **LORA),
    decay=1.0,
    period=2,
  )
  states = histories(algorithm, world, 2, pairs(world))
  moved, reset = (
    lora.merged(now.trainable, now.slow["method"], world.model, **LORA)
    for now in states[1:]
  )
  kernel = "blocks", "attention", "query", "kernel"
  at_start, after_one, after_reset = (
    functools.reduce(lambda tree, name: tree[name], kernel, tree)
    for tree in (world.policy, moved["policy"], reset["policy"])
  )
  assert float(jnp.max(jnp.abs(after_one - at_start))) > 1e-4
  # An average that never moved is that of new adapters, which change nothing.
  np.testing.assert_allclose(after_reset, at_start, atol=1e-6)
  same(states[2].slow["method"]["base"], world.policy)


def test_adapters_on_a_policy_that_is_reset_are_refused(world):
  with pytest.raises(errors.UserError, match="adapters cannot follow"):
    lora.with_lora(
      reference_update.elastic_reset(
        algorithms.dpo(world.model, beta=0.5), decay=DECAY, period=PERIOD
      ),
      world.model,
      **LORA,
    )
