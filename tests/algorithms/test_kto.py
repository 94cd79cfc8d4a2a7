"""KTO: who is desirable, the reference point, and an empty response."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import algorithms, models, scoring, types

BETA = 0.5
LAMBDAS = {"lambda_desirable": 1.5, "lambda_undesirable": 0.5}


def tokens(ids, mask):
  return types.Tokens(jnp.asarray(ids, jnp.int32), jnp.asarray(mask))


@pytest.fixture(scope="module")
def setting():
  """A policy, another reference, and three rows; the last one is empty."""
  model = models.make_model("decoder_tiny", vocabulary_size=8, layers=1)
  policy, reference = (
    jax.tree.map(lambda a: a * jnp.float32(1.5), model.init(jax.random.key(n)))
    for n in range(2)
  )
  batch = types.ScoredResponses(
    prompt=tokens([[3, 4], [5, 6], [4, 4]], np.ones((3, 2), bool)),
    responses=tokens(
      [[[5, 6, 1]], [[7, 1, 0]], [[0, 0, 0]]],
      [[[True] * 3], [[True, True, False]], [[False] * 3]],
    ),
    rewards=jnp.array([[0.3], [-0.2], [2.0]]),
  )
  return model, policy, reference, batch


def ratio(setting, row, response):
  """log policy - log reference of one row's prompt with another's response."""
  model, policy, reference, batch = setting
  prompt = jax.tree.map(lambda a: a[row : row + 1], batch.prompt)
  answer = jax.tree.map(lambda a: a[response : response + 1], batch.responses)
  one, two = (
    scoring.token_logprobs(model, params, prompt, answer).sum()
    for params in (policy, reference)
  )
  return float(one - two)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_the_loss_is_the_papers_with_the_next_rows_response(setting):
  model, policy, reference, batch = setting
  method = algorithms.ALGORITHMS["kto"].factory(model, beta=BETA, **LAMBDAS)
  total, metrics = jax.jit(method.loss)(
    {"policy": policy}, {"reference": reference}, batch, jax.random.key(0)
  )
  # Row 0 meets the response of 1, row 1 the empty one (0 nats), row 2 that of 0
  point = max(np.mean([ratio(setting, 0, 1), 0.0, ratio(setting, 2, 0)]), 0.0)
  good = 1.5 * (1 - sigmoid(BETA * (ratio(setting, 0, 0) - point)))
  bad = 0.5 * (1 - sigmoid(BETA * (point - ratio(setting, 1, 1))))
  # The third row is empty: its reward counts for nothing.
  assert float(total.value()) == pytest.approx((good + bad) / 2, rel=1e-5)
  assert float(metrics["reference_point"].value()) == pytest.approx(
    point, abs=1e-6
  )
  assert float(metrics["desirable"].value()) == pytest.approx(0.5)
  assert float(metrics["empty_responses"].value()) == pytest.approx(1 / 3)


def test_the_gradient_lifts_what_is_desirable_and_holds_the_point(setting):
  model, policy, _, batch = setting
  method = algorithms.ALGORITHMS["kto"].factory(model, beta=BETA)
  gradient = jax.jit(
    jax.grad(
      lambda params, rewards: (
        method.loss(
          {"policy": params},
          {"reference": policy},
          batch.replace(rewards=rewards),
          jax.random.key(0),
        )[0].total
      )
    )
  )

  def direct(params):
    # At policy = reference and point 0 the slope of 1 - sigmoid is -1/4.
    logprobs = scoring.token_logprobs(
      model, params, batch.prompt, batch.responses
    ).sum(axis=(1, 2))
    return BETA / 4 * (logprobs[1] - logprobs[0])

  for one, two in zip(
    jax.tree.leaves(gradient(policy, batch.rewards)),
    jax.tree.leaves(jax.jit(jax.grad(direct))(policy)),
    strict=True,
  ):
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_one_row_has_no_reference_point(setting):
  model, policy, reference, batch = setting
  method = algorithms.ALGORITHMS["kto"].factory(model, beta=BETA)
  one = jax.tree.map(lambda a: a[:1], batch)
  with pytest.raises(ValueError, match="at least 2 rows"):
    method.loss(
      {"policy": policy}, {"reference": reference}, one, jax.random.key(0)
    )
