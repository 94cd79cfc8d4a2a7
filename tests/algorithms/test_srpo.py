"""SRPO from six log-probabilities that are read one by one; and revising."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, scoring, types
from alignment_jax import sampling as engine
from alignment_jax.rollouts.revisions import revision_prompt, self_revise

BETA, ALPHA = 0.5, 0.7
TEMPLATE = ((3,), (0, 3))


def row(ids, *, left, length=4):
  """One sequence, padded with what is ignored."""
  padding = length - len(ids)
  filled = [9] * padding + list(ids) if left else list(ids) + [9] * padding
  real = [False] * padding + [True] * len(ids)
  return types.Tokens(
    jnp.array([filled], jnp.int32) % 4,
    jnp.array([real if left else real[::-1]]),
  )


PROMPTS = [[2, 3], [0], [3, 2, 0]]
CHOSEN = [[2, 1], [0, 3, 1], [2]]
REJECTED = [[3, 3, 0, 1], [1], [0, 1]]
PROBABILITY = [1.0, 0.75, 0.5]
WEIGHT = [1.0, 2.0, 1.0]


def stacked(lists, *, left):
  rows = [row(ids, left=left) for ids in lists]
  return jax.tree.map(lambda *a: jnp.concatenate(a), *rows)


def batch():
  return types.PreferencePair(
    stacked(PROMPTS, left=True),
    stacked(CHOSEN, left=False),
    stacked(REJECTED, left=False),
    jnp.array(WEIGHT),
    jnp.array(PROBABILITY),
  )


def rhos_of(world):
  """The log-ratio of a response to a prompt, perhaps after one is shown."""

  @jax.jit
  def log_ratio(prompt, response):
    after = jax.tree.map(lambda a: a[:, None], response)
    policy, reference = (
      scoring.token_logprobs(world.model, params, prompt, after).sum()
      for params in (world.policy, world.reference)
    )
    return policy - reference

  def rho(prompt, response, shown=None):
    before = list(prompt)
    if shown is not None:
      before += [*TEMPLATE[0], *shown, *TEMPLATE[1]]
    return float(
      log_ratio(row(before, left=True, length=12), row(response, left=False))
    )

  return rho


def expected_loss(world):
  """The formula of the paper's sampled loss, pair by pair."""
  rho_of = rhos_of(world)

  def of_pair(prompt, chosen, rejected):
    rho = functools.partial(rho_of, prompt)
    joint = (
      rho(chosen, rejected)
      + rho(chosen)
      - rho(rejected, chosen)
      - rho(rejected)
    )
    after_rejected = rho(chosen, rejected) - rho(rejected, rejected)
    after_chosen = rho(chosen, chosen) - rho(rejected, chosen)
    return (1 - ALPHA) * (BETA * joint - 1) ** 2 + ALPHA * (
      (0.5 - BETA * after_rejected) ** 2 + (0.5 - BETA * after_chosen) ** 2
    )

  total = 0.0
  for prompt, one, two, p, weight in zip(
    PROMPTS, CHOSEN, REJECTED, PROBABILITY, WEIGHT, strict=True
  ):
    total += weight * (
      p * of_pair(prompt, one, two) + (1 - p) * of_pair(prompt, two, one)
    )
  return total / sum(WEIGHT)


def method(world, **changes):
  return algorithms.srpo(
    world.model,
    **{"beta": BETA, "alpha": ALPHA, "template": TEMPLATE, **changes},
  )


def test_the_loss_is_the_formula_of_six_log_probabilities(world):
  run = jax.jit(method(world).loss)
  total, _ = run(
    {"policy": world.policy}, {"reference": world.reference}, batch(), None
  )
  assert total.value() == pytest.approx(expected_loss(world), rel=1e-4)


def test_the_margins_are_those_of_generator_and_reviser(world):
  rho_of = rhos_of(world)
  _, metrics = jax.jit(method(world).loss)(
    {"policy": world.policy}, {"reference": world.reference}, batch(), None
  )
  names = (
    "generator/margins",
    "reviser/margins_after_chosen",
    "reviser/margins_after_rejected",
    "reviser/accuracies",
    "joint/margins",
  )
  rows = []
  for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True):
    rho = functools.partial(rho_of, prompt)
    plain = rho(chosen) - rho(rejected)
    after_chosen = rho(chosen, chosen) - rho(rejected, chosen)
    after_rejected = rho(chosen, rejected) - rho(rejected, rejected)
    right = (after_chosen > 0) + (after_rejected > 0)
    joint = plain + rho(chosen, rejected) - rho(rejected, chosen)
    rows.append(
      [
        BETA * plain,
        BETA * after_chosen,
        BETA * after_rejected,
        right / 2,
        BETA * joint,
      ]
    )
  expected = np.average(rows, axis=0, weights=WEIGHT)
  got = [float(metrics[name].value()) for name in names]
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
  for name, responses in (("chosen", CHOSEN), ("rejected", REJECTED)):
    nats = [
      scoring.token_logprobs(
        world.model,
        world.policy,
        row(prompt, left=True),
        jax.tree.map(lambda a: a[:, None], row(response, left=False)),
      ).sum()
      for prompt, response in zip(PROMPTS, responses, strict=True)
    ]
    assert metrics[f"logps/{name}"].value() == pytest.approx(
      np.average(nats, weights=WEIGHT), rel=1e-4
    )


def test_it_starts_at_one_less_half_of_alpha(world):
  algorithm = method(world)
  trainable, slow = algorithm.init(jax.random.key(0), world.policy)
  total, metrics = jax.jit(algorithm.loss)(trainable, slow, batch(), None)
  assert total.value() == pytest.approx(1 - ALPHA / 2, rel=1e-6)
  assert metrics["generator/margins"].value() == 0
  assert metrics["reviser/margins_after_chosen"].value() == 0


def test_a_revision_prompt_holds_the_answer_between_the_separators():
  whole = revision_prompt(
    row([2, 3], left=True), row([0, 1], left=False), TEMPLATE
  )
  np.testing.assert_array_equal(whole.ids[0, -7:], [2, 3, 3, 0, 1, 0, 3])
  np.testing.assert_array_equal(whole.mask[0], [False] * 4 + [True] * 7)


def test_revisions_read_the_answer_before(world):
  prompt = jax.tree.map(lambda a: jnp.repeat(a, 3, axis=0), world.prompt)
  settings = dict(eos_id=1, max_tokens=3)
  generate = jax.jit(
    functools.partial(engine.generate, world.model, **settings)
  )
  key = jax.random.key(4)
  got = jax.jit(
    lambda prompt: self_revise(
      world.model,
      world.policy,
      prompt,
      key,
      template=TEMPLATE,
      revisions=2,
      **settings,
    )
  )(prompt)
  assert got.ids.shape == (3, 3, 3)
  shown = None
  for number in range(3):
    before = (
      prompt if shown is None else revision_prompt(prompt, shown, TEMPLATE)
    )
    shown = jax.tree.map(
      lambda a: a[:, 0],
      generate(world.policy, before, jax.random.fold_in(key, number)).responses,
    )
    np.testing.assert_array_equal(
      jnp.where(shown.mask, shown.ids, -1),
      jnp.where(got.mask[:, number], got.ids[:, number], -1),
    )


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"template": ((3,),)}, "template must have two parts"),
    ({"alpha": 1.5}, "alpha"),
    ({"beta": 0.0}, "beta"),
  ],
)
def test_settings_out_of_range_are_refused(world, changes, message):
  with pytest.raises(ValueError, match=message):
    method(world, **changes)
