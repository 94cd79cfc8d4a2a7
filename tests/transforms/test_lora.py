"""A method by adapters is the method itself, moving nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import (
  algorithms,
  errors,
  models,
  optimizers,
  types,
)
from alignment_jax.algorithm import Rollouts, frozen
from alignment_jax.models import lora as adapters
from alignment_jax.training import checkpoint, state, step
from alignment_jax.transforms import lora

LORA = dict(rank=4, alpha=8.0, targets=("*/attention/*/kernel", "*/mlp/*"))
METHODS = {
  "dpo": dict(beta=0.1),
  "dro": dict(tau=1.0),
  "ipo": dict(tau=0.1),
  "reward_model": {},
  "sft": {},
}
ROWS = 8


@functools.cache
def model():
  return models.make_model("decoder_tiny", vocabulary_size=40)


@functools.cache
def start():
  """A policy that is not fresh: no kernel is small by chance."""
  return jax.jit(model().init)(jax.random.key(5))


def copied(tree):
  return jax.tree.map(jnp.copy, tree)


def batch_of(kind):
  random = np.random.default_rng(0)

  def tokens(*shape, left=False):
    ids = jnp.asarray(random.integers(3, 40, shape), jnp.int32)
    counts = random.integers(1, shape[-1] + 1, shape[:-1])[..., None]
    index = np.arange(shape[-1])
    mask = index >= shape[-1] - counts if left else index < counts
    return types.Tokens(ids=ids, mask=jnp.asarray(mask))

  prompt = tokens(ROWS, 4, left=True)
  if kind is types.Demonstration:
    return types.Demonstration(prompt, tokens(ROWS, 6))
  if kind is types.ScoredResponses:
    rewards = jnp.asarray(random.normal(size=(ROWS, 1)), jnp.float32)
    return types.ScoredResponses(prompt, tokens(ROWS, 1, 6), rewards)
  return types.PreferencePair(
    prompt,
    tokens(ROWS, 6),
    tokens(ROWS, 6),
    jnp.ones((ROWS,), jnp.float32),
    jnp.full((ROWS,), 0.9, jnp.float32),
  )


def optimizer_of(weight_decay=0.0):
  schedule = optimizers.make_schedule(
    "constant", learning_rate=1e-2, warmup_steps=0, total_steps=99
  )
  return optimizers.make_optimizer(
    "adamw", schedule, weight_decay=weight_decay, clip_norm=None
  )


@functools.cache
def trained(name, steps=8):
  """The method, its state before and after some steps, and its metrics."""
  method = algorithms.ALGORITHMS[name].factory(model(), **METHODS[name])
  low = lora.with_lora(method, model(), **LORA)
  optimizer = optimizer_of()
  key = jax.random.key(0)
  first = state.make_state(low, optimizer, key, copied(start()))
  update = jax.jit(step.make_update(low, optimizer))
  batch = batch_of(algorithms.ALGORITHMS[name].data)
  now, history = first, []
  for _ in range(steps):
    now, metrics = update(now, batch, key)
    history.append(jax.device_get(metrics))
  return method, low, first, now, history


def assert_same(one, other):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_a_method_trains_of_the_policys_shape_starts_from_the_policy(name):
  # What adapters on the policy stand for, whichever tree they are in.
  method = algorithms.ALGORITHMS[name].factory(model(), **METHODS[name])
  trainable, slow = method.init(jax.random.key(0), start())
  is_policy = lora.same_shapes_as(start())
  found = [
    node
    for node in jax.tree.leaves((trainable, slow), is_leaf=is_policy)
    if is_policy(node)
  ]
  assert found
  for node in found:
    assert_same(node, start())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_at_the_start_the_loss_is_that_of_the_method(name):
  method, low, first, _, _ = trained(name)
  # The heads of the first state, on the policy as it is.
  policy = {"policy": start(), "network": start()}

  def whole(trainable):
    if not isinstance(trainable, dict):
      return trainable
    return {
      part: policy[part] if part in policy else whole(inner)
      for part, inner in trainable.items()
    }

  trainable = whole(first.trainable)
  _, slow = method.init(jax.random.key(0), start())
  batch = batch_of(algorithms.ALGORITHMS[name].data)
  inner, _ = jax.jit(method.loss)(trainable, slow, batch, None)
  outer, _ = jax.jit(low.loss)(first.trainable, first.slow, batch, None)
  np.testing.assert_array_equal(inner.total, outer.total)
  assert_same(
    lora.merged(first.trainable, first.slow, model(), **LORA), trainable
  )


@pytest.mark.parametrize("name", ["dro", "ipo", "reward_model", "sft"])
def test_the_loss_falls_and_the_base_keeps_every_bit(name):
  _, _, first, last, history = trained(name)
  assert history[-1]["loss"] < history[0]["loss"]
  assert_same(last.slow, first.slow)
  assert_same(last.slow["base"], start())
  moved = jax.tree.map(
    lambda before, after: bool(np.any(before != after)),
    first.trainable,
    last.trainable,
  )
  still = [
    jax.tree_util.keystr(path)
    for path, has in jax.tree.leaves_with_path(moved)
    if not has
  ]
  # A constant added to both rewards is no preference.
  assert still == (
    ["['reward']['head']['bias']"] if name == "reward_model" else []
  )


def test_the_optimizer_holds_moments_of_adapters_alone():
  _, _, first, _, _ = trained("ipo")
  sizes = {
    name: sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in {
      "trainable": first.trainable,
      "moments": first.optimizer_state,
    }.items()
  }
  # Two moments, and a counter of Adam's and of the schedule.
  assert sizes["moments"] == 2 * sizes["trainable"] + 2
  expected = adapters.init(
    jax.random.key(0),
    start(),
    model().axes,
    rank=LORA["rank"],
    targets=LORA["targets"],
  )
  assert jax.tree.structure(first.trainable) == jax.tree.structure(
    {"policy": expected}
  )


def test_a_frozen_reference_is_not_kept_a_second_time():
  _, _, first, _, _ = trained("ipo")
  count = sum(leaf.size for leaf in jax.tree.leaves(first.slow))
  assert count == sum(leaf.size for leaf in jax.tree.leaves(start()))
  assert first.slow["method"] == {}


def test_the_base_is_no_constant_of_the_program():
  _, low, first, _, _ = trained("dro")
  batch = batch_of(algorithms.ALGORITHMS["dro"].data)
  optimizer = optimizer_of()
  largest = 16  # numbers; every kernel has more
  for traced in (
    jax.make_jaxpr(low.loss)(first.trainable, first.slow, batch, None),
    jax.make_jaxpr(step.make_update(low, optimizer))(
      first, batch, jax.random.key(0)
    ),
    jax.make_jaxpr(
      lambda policy: state.make_state(low, optimizer, jax.random.key(0), policy)
    )(start()),
  ):
    assert all(np.size(value) <= largest for value in traced.consts)


def test_merged_is_the_base_with_the_adapters_in_it():
  _, _, _, last, _ = trained("reward_model")
  merged = lora.merged(last.trainable, last.slow, model(), **LORA)
  inner = last.trainable["reward"]
  assert_same(merged["reward"]["head"], inner["head"])
  assert_same(
    merged["reward"]["network"],
    adapters.merge(
      start(), inner["network"], model().axes, alpha=LORA["alpha"]
    ),
  )


def test_networks_of_one_method_have_adapters_of_their_own():
  _, _, first, _, _ = trained("dro")
  policy = jax.tree.leaves(first.trainable["policy"])
  value = jax.tree.leaves(first.trainable["value"]["network"])
  assert any(np.any(a != b) for a, b in zip(policy, value, strict=True))


def test_a_restored_run_goes_on_bit_for_bit(tmp_path):
  _, low, first, whole, _ = trained("ipo")
  update = jax.jit(step.make_update(low, optimizer_of()))
  batch = batch_of(algorithms.ALGORITHMS["ipo"].data)
  key = jax.random.key(0)
  for _ in range(3):
    first, _ = update(first, batch, key)
  placed = jax.tree.map(lambda leaf: leaf.sharding, first)
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, first, {})
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    now = checkpoints.restore(3, checkpoint.target_of(first, placed))
  for _ in range(5):
    now, _ = update(now, batch, key)
  assert_same(now, whole)


def test_weight_decay_pulls_the_adapters_towards_nothing():
  method = algorithms.ALGORITHMS["ipo"].factory(model(), tau=0.1)
  low = lora.with_lora(method, model(), **LORA)
  optimizer = optimizer_of(weight_decay=0.5)
  trainable, _ = low.init(jax.random.key(0), start())
  zeros = jax.tree.map(jnp.zeros_like, trainable)
  with jax.numpy_dtype_promotion("standard"):
    updates, _ = optimizer.update(zeros, optimizer.init(trainable), trainable)
  # Learning rate 1e-2 times decay 0.5.
  for change, leaf in zip(
    jax.tree.leaves(updates), jax.tree.leaves(trainable), strict=True
  ):
    np.testing.assert_allclose(change, -5e-3 * leaf, rtol=1e-6)


def imitating(refresh, extra=(), replaces=()):
  """SFT with a slow state and another `refresh`."""
  method = algorithms.ALGORITHMS["sft"].factory(model())

  def init(key, policy):
    trainable, _ = method.init(key, policy)
    return trainable, {name: copied(policy) for name in extra}

  return method._replace(
    init=init, refresh=refresh, replaces=frozenset(replaces)
  )


def test_an_average_of_the_policy_follows_the_merged_parameters():
  def refresh(trainable, slow, step, metrics):
    del step, metrics
    average = jax.tree.map(
      lambda old, new: 0.5 * old + 0.5 * new,
      slow["ema"],
      trainable["policy"],
    )
    return trainable, {**slow, "ema": average}

  low = lora.with_lora(
    imitating(refresh, ("ema", "reference")), model(), **LORA
  )
  optimizer = optimizer_of()
  first = state.make_state(low, optimizer, jax.random.key(0), copied(start()))
  assert set(first.slow["method"]) == {"ema"}
  now, _ = jax.jit(step.make_update(low, optimizer))(
    first,
    batch_of(algorithms.ALGORITHMS["sft"].data),
    jax.random.key(0),
  )
  merged = lora.merged(now.trainable, now.slow, model(), **LORA)["policy"]
  for average, a, b in zip(
    jax.tree.leaves(now.slow["method"]["ema"]),
    jax.tree.leaves(start()),
    jax.tree.leaves(merged),
    strict=True,
  ):
    np.testing.assert_allclose(average, 0.5 * a + 0.5 * b, rtol=1e-5, atol=1e-6)


def test_a_reference_that_moves_is_kept_apart_from_the_base():
  def refresh(trainable, slow, step, metrics):
    del step, metrics
    return trainable, {**slow, "reference": trainable["policy"]}

  low = lora.with_lora(
    imitating(refresh, ("reference",), replaces=("reference",)), model(), **LORA
  )
  trainable, slow = low.init(jax.random.key(0), start())
  assert set(slow["method"]) == {"reference"}
  trainable = jax.tree.map(lambda leaf: leaf + 0.1, trainable)
  _, after = low.refresh(trainable, slow, jnp.ones((), jnp.int32), {})
  assert_same(after["base"], start())
  moved = after["method"]["reference"]["blocks"]["attention"]["query"]["kernel"]
  assert np.any(moved != start()["blocks"]["attention"]["query"]["kernel"])


def test_a_method_that_sets_the_policy_anew_is_refused():
  def refresh(trainable, slow, step, metrics):
    del step, metrics
    return {"policy": slow["ema"]}, slow

  with pytest.raises(errors.UserError, match="adapters cannot follow"):
    lora.with_lora(
      imitating(refresh, ("ema",), replaces=("policy",)), model(), **LORA
    )


@pytest.mark.parametrize("name", ["policy", "reference"])
def test_a_refresh_that_hides_what_it_replaces_is_caught(name):
  def refresh(trainable, slow, step, metrics):
    del step, metrics
    policy, reference = trainable["policy"], slow["reference"]
    if name == "policy":
      return {"policy": jax.tree.map(jnp.negative, policy)}, slow
    return trainable, {"reference": jax.tree.map(jnp.negative, reference)}

  low = lora.with_lora(imitating(refresh, ("reference",)), model(), **LORA)
  trainable, slow = low.init(jax.random.key(0), start())
  with pytest.raises(ValueError, match=f"sets the {name} anew"):
    low.refresh(trainable, slow, jnp.ones((), jnp.int32), {})


def test_sampling_and_judging_see_full_parameters():
  seen = {}

  def sample(trainable, slow, batch, key):
    seen["sample"] = trainable["policy"], slow["reference"]
    return batch

  def prepare(trainable, slow, rollout, feedback):
    seen["prepare"] = trainable["policy"], slow["reference"]
    return rollout

  method = imitating(frozen, ("reference",))._replace(
    rollouts=Rollouts(sample, "reward", prepare)
  )
  low = lora.with_lora(method, model(), **LORA)
  trainable, slow = low.init(jax.random.key(0), start())
  assert low.rollouts.feedback == "reward"
  low.rollouts.sample(trainable, slow, None, None)
  low.rollouts.prepare(trainable, slow, None, None)
  for policy, reference in seen.values():
    assert_same(policy, start())
    assert_same(reference, start())


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(rank=0), "rank must be at least 1, got 0"),
    (
      dict(targets=("*/nothing",)),
      "no kernel '\\*/nothing'; available: blocks",
    ),
  ],
)
def test_adapters_that_cannot_be_are_refused(change, message):
  method = algorithms.ALGORITHMS["ipo"].factory(model(), tau=0.1)
  with pytest.raises(errors.UserError, match=message):
    lora.with_lora(method, model(), **{**LORA, **change})


def test_no_strength_is_refused():
  method = algorithms.ALGORITHMS["ipo"].factory(model(), tau=0.1)
  with pytest.raises(ValueError, match="alpha must be > 0"):
    lora.with_lora(method, model(), **{**LORA, "alpha": 0.0})
