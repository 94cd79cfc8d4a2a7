"""Every entry of the table: one step, and the meaning of its batch."""

import collections
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, models, optimizers, rollouts, types
from alignment_jax.training import state, step

OFFLINE = {
  name: method
  for name, method in algorithms.ALGORITHMS.items()
  if not method.samples
}
ROWS = 8


def tokens(rng, length, counts, *, left):
  ids = rng.integers(3, 40, (len(counts), length)).astype(np.int32)
  index = np.arange(length)[None]
  counts = np.asarray(counts)[:, None]
  mask = index >= length - counts if left else index < counts
  return types.Tokens(ids=jnp.asarray(ids), mask=jnp.asarray(mask))


def batch_of(kind, seed=0):
  """A batch whose first row has an empty first response."""
  rng = np.random.default_rng(seed)
  prompt = tokens(rng, 4, rng.integers(1, 5, ROWS), left=True)
  counts = [0, *rng.integers(1, 7, ROWS - 1)]
  one = tokens(rng, 6, counts, left=False)
  two = tokens(rng, 6, rng.integers(1, 7, ROWS), left=False)
  if kind is types.Demonstration:
    return types.Demonstration(prompt, one)
  if kind is types.PreferencePair:
    weight = jnp.ones((ROWS,), jnp.float32)
    share = jnp.asarray(rng.uniform(0.5, 1, ROWS), jnp.float32)
    return types.PreferencePair(prompt, one, two, weight, share)
  return types.ScoredResponses(
    prompt,
    jax.tree.map(lambda a: a[:, None], one),
    jnp.asarray(rng.normal(size=(ROWS, 1)), jnp.float32),
  )


def made(entry, model):
  """The method with the settings that its entry names for tests."""
  end = {"eos_id": 1} if entry.needs_eos else {}
  if entry.samples:
    end["sampling"] = rollouts.Sampling(
      samples=2, max_tokens=3, temperature=1.0, eos_id=1
    )
  return entry.factory(model, **entry.tiny, **end)


def trained(name, *, microbatches=1, steps=1, seed=0, keep=None):
  """The state and metrics after some steps on one batch."""
  model = models.make_model("decoder_tiny", vocabulary_size=40)
  entry = OFFLINE[name]
  algorithm = made(entry, model)
  schedule = optimizers.make_schedule(
    "constant", learning_rate=3e-3, warmup_steps=0, total_steps=99
  )
  optimizer = optimizers.make_optimizer(
    "adamw", schedule, weight_decay=0.0, clip_norm=None
  )
  key = jax.random.key(0)
  first = jax.jit(
    lambda: state.make_state(algorithm, optimizer, key, model.init(key))
  )()
  batch = batch_of(entry.data, seed)
  if keep is not None:
    batch = jax.tree.map(lambda a: a[keep], batch)
  update = jax.jit(
    step.make_update(algorithm, optimizer, microbatches=microbatches)
  )
  now, history = first, []
  for _ in range(steps):
    now, metrics = update(now, batch, key)
    history.append(jax.device_get(metrics))
  return first, now, history


@pytest.mark.parametrize("name", sorted(OFFLINE))
def test_a_step_keeps_the_tree_and_the_loss_falls(name):
  first, last, history = trained(name, steps=12)
  assert jax.tree.structure(first) == jax.tree.structure(last)
  for old, new in zip(
    jax.tree.leaves(first), jax.tree.leaves(last), strict=True
  ):
    assert old.dtype == new.dtype and old.shape == new.shape
  assert all(np.isfinite(v) for m in history for v in m.values())
  assert history[-1]["loss"] < history[0]["loss"]
  assert int(last.step) == 12
  assert set(OFFLINE[name].headline) <= history[0].keys()


@pytest.mark.parametrize("name", sorted(algorithms.ALGORITHMS))
def test_a_method_says_what_its_refresh_replaces(name, table_of):
  # What `refresh` hands on as it came is the same traced value.
  model, entry = table_of(8), algorithms.ALGORITHMS[name]
  algorithm, key = made(entry, model), jax.random.key(0)
  trainable, slow = jax.eval_shape(
    algorithm.init, key, jax.eval_shape(model.init, key)
  )
  replaced = set()

  def note(part, before, after):
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    if any(old is not new for old, new in pairs):
      replaced.add(part)

  def refresh(trainable, slow):
    metrics = collections.defaultdict(lambda: jnp.zeros(()))
    after, slow_after = algorithm.refresh(
      trainable, slow, jnp.ones((), jnp.int32), metrics
    )
    note("policy", trainable, after)
    if "reference" in slow:
      note("reference", slow["reference"], slow_after["reference"])
    return after, slow_after

  jax.eval_shape(refresh, trainable, slow)
  assert algorithm.replaces == replaced


@pytest.mark.parametrize("name", sorted(algorithms.ALGORITHMS))
def test_an_entry_names_keywords_of_its_factory(name):
  entry = algorithms.ALGORITHMS[name]
  keywords = inspect.signature(entry.factory).parameters.keys()
  needed = {*entry.tiny, *entry.token_keywords}
  needed |= {"sampling"} if entry.samples else set()
  needed |= {"eos_id"} if entry.needs_eos else set()
  assert needed <= keywords
  assert ("sampling" in keywords, "eos_id" in keywords) == (
    entry.samples,
    entry.needs_eos,
  )
  assert entry.factory.__name__ == name


@pytest.mark.parametrize("name", ["dpo", "dro", "ipo", "kto"])
def test_the_reference_never_moves(name):
  first, last, _ = trained(name, steps=3)
  jax.tree.map(
    np.testing.assert_array_equal,
    first.slow["reference"],
    last.slow["reference"],
  )


@pytest.mark.parametrize("name", ["ipo", "sft", "dro"])
def test_any_split_into_microbatches_gives_the_same_update(name):
  _, whole, one = trained(name)
  _, parts, four = trained(name, microbatches=4)
  assert one[0]["loss"] == pytest.approx(four[0]["loss"], rel=1e-5)
  for a, b in zip(
    jax.tree.leaves(whole.trainable),
    jax.tree.leaves(parts.trainable),
    strict=True,
  ):
    # Adam's first step is lr * sign(g): rounding can flip only a zero gradient.
    assert np.mean(np.abs(a - b) > 1e-5) < 0.01


def test_an_empty_response_is_counted_and_weighs_nothing():
  _, _, every = trained("ipo")
  _, _, rest = trained("ipo", keep=slice(1, None))
  assert every[0]["empty_responses"] == pytest.approx(1 / ROWS)
  assert rest[0]["empty_responses"] == 0
  assert every[0]["loss"] == pytest.approx(rest[0]["loss"], rel=1e-6)
  assert every[0]["gradient_norm"] == pytest.approx(
    rest[0]["gradient_norm"], rel=1e-4
  )


def test_ipo_starts_at_the_squared_target():
  # At policy = reference the margin is 0: any label costs (1 / (2 tau))^2.
  _, _, history = trained("ipo")
  assert history[0]["loss"] == pytest.approx(25.0)


def test_dpo_starts_at_log_two():
  _, _, history = trained("dpo")
  assert history[0]["loss"] == pytest.approx(np.log(2), rel=1e-6)


def test_a_fair_coin_as_label_moves_ipo_towards_no_margin():
  # p = 1/2: loss 1/2 (h - t)^2 + 1/2 (h + t)^2, whose gradient at h = 0 is 0.
  model = models.make_model("decoder_tiny", vocabulary_size=40)
  algorithm = algorithms.ALGORITHMS["ipo"].factory(model, tau=0.1)
  params = jax.jit(model.init)(jax.random.key(0))
  trainable, slow = algorithm.init(jax.random.key(0), params)
  batch = batch_of(types.PreferencePair)
  batch = batch.replace(probability=jnp.full((ROWS,), 0.5))
  gradient = jax.jit(
    jax.grad(lambda t: algorithm.loss(t, slow, batch, None)[0].total)
  )(trainable)
  assert all(
    float(jnp.max(jnp.abs(g))) < 1e-3 for g in jax.tree.leaves(gradient)
  )


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_aggregation_decides_what_a_margin_is(aggregation):
  model = models.make_model("decoder_tiny", vocabulary_size=40)
  algorithm = algorithms.ALGORITHMS["dpo"].factory(
    model, beta=1.0, aggregation=aggregation
  )
  params = jax.jit(model.init)(jax.random.key(0))
  trainable, slow = algorithm.init(jax.random.key(0), params)
  batch = batch_of(types.PreferencePair)
  _, metrics = jax.jit(algorithm.loss)(trainable, slow, batch, None)
  # A fresh model is nearly uniform over 40 tokens: log 40 = 3.69 nats each.
  counted = np.asarray(batch.rejected.mask.sum(-1))[1:]
  nats = {"sum": counted.mean() * np.log(40), "mean": np.log(40)}[aggregation]
  assert metrics["logps/rejected"].value() == pytest.approx(-nats, rel=0.1)


# What a method does unless told otherwise: with the numbers of its paper.
DEFAULTS = {
  "dr_grpo": {"beta": 0.0},  # arXiv:2503.20783: no KL
  "kto": {"lambda_desirable": 1.0, "lambda_undesirable": 1.0},
  "ppo": {  # arXiv:2403.17031, table of hyper-parameters
    "clip": 0.2,
    "value_clip": 0.2,
    "value_coefficient": 0.1,
    "gamma": 1.0,
    "lambda_": 0.95,
    "missing_eos_reward": None,
    "whiten_rewards": False,
    "whiten_advantages": True,
    "kl_target": None,
    "kl_gain": 0.1,  # arXiv:1909.08593, section 2.2
  },
  "rcfd": {"beta": 0.0, "clip": 0.3},
  "reinforce": {
    "baseline": "running",
    "decay": 0.99,
    "kl": "reward",
    "kl_target": None,
    "kl_gain": 0.1,
  },
  "rloo": {"clip": None, "kl": "reward", "kl_target": None, "kl_gain": 0.1},
  "soft_q_online": {"gamma": 1.0},
  "warp": {"members": 2},
}


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_unless_told_otherwise_a_method_is_the_papers(name):
  parameters = inspect.signature(algorithms.ALGORITHMS[name].factory).parameters
  assert DEFAULTS[name] == {
    key: parameter.default
    for key, parameter in parameters.items()
    if parameter.default is not parameter.empty
  }
