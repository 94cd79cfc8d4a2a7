"""A model whose responses can be enumerated, for exact expected gradients."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import models, scoring, types

EOS = 1
VOCABULARY = 4
LENGTH = 2


@dataclasses.dataclass(frozen=True)
class World:
  """One prompt, all 13 responses of up to two tokens, and three policies.

  Attributes:
    model: the network; `eos_id` is 1, responses have at most two tokens.
    policy: parameters of the policy, a reference and a third policy.
    reference: see above.
    other: see above.
    prompt: [1, 3].
    responses: [1, 13, 2].
  """

  model: Any
  policy: Any
  reference: Any
  other: Any
  prompt: types.Tokens
  responses: types.Tokens

  def token_logprobs(self, params, temperature=1.0):
    """[13, 2] of every response."""
    return scoring.token_logprobs(
      self.model, params, self.prompt, self.responses, temperature=temperature
    )[0]

  def logprobs(self, params, temperature=1.0):
    """[13], which are those of a distribution."""
    return self.token_logprobs(params, temperature).sum(axis=-1)

  def rollout(self, count, sampled_by, temperature=1.0):
    """A row for each of the 13^count ways to sample `count` responses.

    Returns:
      The rollout, and which response stands at each place, [rows, count].
    """
    size = self.responses.ids.shape[1]
    places = np.array(list(itertools.product(range(size), repeat=count)))
    responses = jax.tree.map(lambda a: a[0][places], self.responses)
    rows = len(places)
    rollout = types.Rollout(
      prompt=jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), self.prompt),
      responses=responses,
      logprobs=self.token_logprobs(sampled_by, temperature)[places],
      ended=jnp.any(responses.mask & (responses.ids == EOS), axis=-1),
      version=jnp.zeros((rows,), jnp.int32),
    )
    return rollout, places

  def expected_gradient(
    self, algorithm, trainable, slow, rollout, scores, probabilities
  ):
    """Gradient of the mean loss over rows that occur with these probabilities.

    Each row is a batch of its own; how it was sampled is held constant.
    """
    batch = algorithm.collect.prepare(trainable, slow, rollout, scores)
    rows = jax.tree.map(lambda a: a[:, None], batch)

    def total(trainable):
      def of_row(row):
        mean, _ = algorithm.loss(trainable, slow, row, jax.random.key(0))
        return mean.value()

      return jnp.sum(probabilities * jax.vmap(of_row)(rows))

    return jax.jit(jax.grad(total))(trainable)


@pytest.fixture(scope="session")
def world():
  model = models.make_model(
    "decoder_tiny",
    vocabulary_size=VOCABULARY,
    layers=1,
    width=8,
    heads=2,
    kv_heads=1,
    head_width=4,
    mlp_width=8,
  )

  def params(seed):
    # Larger than at initialisation, so that the policies differ clearly.
    return jax.tree.map(
      lambda a: a * jnp.float32(1.5), model.init(jax.random.key(seed))
    )

  rows = [(EOS,)]
  others = [token for token in range(VOCABULARY) if token != EOS]
  rows += list(itertools.product(others, range(VOCABULARY)))
  ids = np.zeros((1, len(rows), LENGTH), np.int32)
  mask = np.zeros((1, len(rows), LENGTH), bool)
  for place, row in enumerate(rows):
    ids[0, place, : len(row)] = row
    mask[0, place, : len(row)] = True
  return World(
    model=model,
    policy=params(0),
    reference=params(1),
    other=params(2),
    prompt=types.Tokens(jnp.array([[2, 3, 2]]), jnp.ones((1, 3), bool)),
    responses=types.Tokens(jnp.asarray(ids), jnp.asarray(mask)),
  )
