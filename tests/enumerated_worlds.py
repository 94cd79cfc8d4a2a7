"""A model whose responses can be enumerated, for exact expected gradients."""

import dataclasses
import itertools
import types as types_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import models, scoring, types
from alignment_jax.models import base
from alignment_jax.ops import means

EOS = 1


@dataclasses.dataclass(frozen=True)
class World:
  """One prompt, all N responses of up to T tokens, and three policies.

  Attributes:
    model: the network; `eos_id` is 1.
    policy: parameters of the policy, a reference and a third policy.
    reference: see above.
    other: see above.
    prompt: [1, 3].
    responses: [1, N, T].
  """

  model: Any
  policy: Any
  reference: Any
  other: Any
  prompt: types.Tokens
  responses: types.Tokens

  def token_logprobs(self, params, temperature=1.0):
    """[N, T] of every response."""
    return scoring.token_logprobs(
      self.model, params, self.prompt, self.responses, temperature=temperature
    )[0]

  def logprobs(self, params, temperature=1.0):
    """[N], which are those of a distribution."""
    return self.token_logprobs(params, temperature).sum(axis=-1)

  def rollout(self, count, sampled_by, temperature=1.0, *, opponents=0):
    """A row for each way to sample `count` responses and those of opponents.

    Returns:
      The rollout, and which response stands where, [rows, count + opponents]:
      those of the opponents are the last.
    """
    size = self.responses.ids.shape[1]
    repeat = count + opponents
    indices = np.array(list(itertools.product(range(size), repeat=repeat)))
    rows = len(indices)

    def responses_at(indices):
      return jax.tree.map(lambda a: a[0][indices], self.responses)

    responses = responses_at(indices[:, :count])
    rollout = types.Rollout(
      prompt=jax.tree.map(lambda a: jnp.repeat(a, rows, axis=0), self.prompt),
      responses=responses,
      logprobs=self.token_logprobs(sampled_by, temperature)[indices[:, :count]],
      ended=jnp.any(responses.mask & (responses.ids == EOS), axis=-1),
      version=jnp.zeros((rows,), jnp.int32),
      opponents=responses_at(indices[:, count:]) if opponents else None,
    )
    return rollout, indices

  def preferences(self):
    """[N, N]: P of random wins; most triples are cyclic, so no reward fits."""
    size = self.responses.ids.shape[1]
    above = np.triu(np.random.default_rng(0).uniform(size=(size, size)), 1)
    below = np.tril(1 - above.T, -1)
    return jnp.asarray(above + below + np.eye(size) / 2, jnp.float32)

  def judged(self, indices, opponents=0):
    """Preferences among these responses, or of the first K over the opponents',
    the last, as feedback."""
    count = indices.shape[1] - opponents
    first, second = indices[:, :count], indices[:, count:]
    if not opponents:
      second = first
    return types.Feedback(
      preferences=self.preferences()[first[:, :, None], second[:, None, :]]
    )

  def game_gradient(self, opponent, *, tau, temperature=1.0):
    """Gradient, to be descended, of the regularised game.

    Args:
      opponent: its log-probabilities [N], held constant.
      tau: strength of the KL to the reference.
      temperature: of the policies.
    """

    def objective(policy):
      logprobs = self.logprobs(policy, temperature)
      ratio = logprobs - self.logprobs(self.reference, temperature)
      wins = self.preferences() @ jnp.exp(opponent)
      return -jnp.sum(jnp.exp(logprobs) * (wins - tau * ratio))

    return jax.jit(jax.grad(objective))(self.policy)

  def expected_gradient(
    self,
    algorithm,
    trainable,
    slow,
    rollout,
    feedback,
    probabilities,
    number=means.Mean.value,
  ):
    """Gradient of the mean loss over rows that occur with these probabilities.

    Each row is a batch of its own, prepared and reduced by itself; how it was
    sampled is held constant. `number` makes a loss of its `Mean`.
    """

    def total(trainable, held, slow, rows):
      def of_row(row):
        batch = algorithm.rollouts.prepare(held, slow, *row)
        return number(
          algorithm.loss(trainable, slow, batch, jax.random.key(0))[0]
        )

      return jnp.sum(probabilities * jax.vmap(of_row)(rows))

    rows = jax.tree.map(lambda a: a[:, None], (rollout, feedback))
    return jax.jit(jax.grad(total))(trainable, trainable, slow, rows)

  def gradient_of_prepared(
    self, algorithm, trainable, slow, rollout, feedback, probabilities
  ):
    """`expected_gradient` with all rows prepared as one batch.

    For what is taken over a batch, such as a mean: it is over the rows as they
    are, whatever their probabilities, and held constant.
    """
    batch = algorithm.rollouts.prepare(trainable, slow, rollout, feedback)
    rows = jax.tree.map(lambda a: a[:, None], batch)

    def total(trainable):
      def of_row(row):
        mean, _ = algorithm.loss(trainable, slow, row, jax.random.key(0))
        return mean.value()

      return jnp.sum(probabilities * jax.vmap(of_row)(rows))

    return jax.jit(jax.grad(total))(trainable)

  def exact_gradient(self, rewards, beta, temperature=1.0, kl="reverse"):
    """Of KL-regularised rewards [13] to be minimised, at the policy.

    The KL is `reverse`, KL(policy || reference), or `forward`, the other one.
    """
    reference = self.logprobs(self.reference, temperature)

    def objective(policy):
      policy = self.logprobs(policy, temperature)
      first, second = {
        "reverse": (policy, reference),
        "forward": (reference, policy),
      }[kl]
      divergence = jnp.sum(jnp.exp(first) * (first - second))
      return beta * divergence - jnp.sum(jnp.exp(policy) * rewards)

    return jax.jit(jax.grad(objective))(self.policy)


@pytest.fixture(scope="session")
def world():
  """A decoder over four tokens: 13 responses of up to two."""
  model = models.make_model(
    "decoder_tiny",
    vocabulary_size=4,
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

  return enumerated(model, params, vocabulary=4, length=2)


@pytest.fixture(scope="session")
def table_world():
  """Logits as parameters, over three tokens: 7 responses of up to two.

  It compiles in no time. What a network adds is the same for all methods.
  """
  return tables(length=2)


@pytest.fixture(scope="session")
def one_token_world():
  """Three responses of one token: a bandit."""
  return tables(length=1)


@pytest.fixture(scope="session")
def table_of():
  """Vocabulary size -> a model that compiles in no time."""
  return table_model


def tables(length):
  model = table_model(3)
  return enumerated(
    model,
    lambda seed: model.init(jax.random.key(seed)),
    vocabulary=3,
    length=length,
  )


def enumerated(model, params, *, vocabulary, length):
  """The world of all responses that end, or have this length without."""
  others = [token for token in range(vocabulary) if token != EOS]
  rows = [
    (*start, EOS)
    for count in range(length - 1)
    for start in itertools.product(others, repeat=count)
  ]
  rows += [
    (*start, last)
    for start in itertools.product(others, repeat=length - 1)
    for last in range(vocabulary)
  ]
  ids = np.zeros((1, len(rows), length), np.int32)
  mask = np.zeros((1, len(rows), length), bool)
  for index, row in enumerate(rows):
    ids[0, index, : len(row)] = row
    mask[0, index, : len(row)] = True
  return World(
    model=model,
    policy=params(0),
    reference=params(1),
    other=params(2),
    prompt=types.Tokens(jnp.array([[2, 0, 2]]), jnp.ones((1, 3), bool)),
    responses=types.Tokens(jnp.asarray(ids), jnp.asarray(mask)),
  )


def table_model(vocabulary):
  """Logits of the first token, and of a token after each other; no prompt.

  Mixing two tables mixes the two policies token by token.
  """

  def init(key):
    first, rest = jax.random.split(key)
    return {
      "first": jax.random.normal(first, (vocabulary,)),
      "next": jax.random.normal(rest, (vocabulary, vocabulary)),
    }

  def encode(params, prompt, key=None):
    del key
    rows = prompt.ids.shape[0]
    nothing = jnp.zeros((1, rows, 1, 1, 1))
    return base.Context(
      last=jnp.broadcast_to(params["first"][None], (rows, vocabulary)),
      prefix=base.Memory(
        keys=nothing,
        values=nothing,
        mask=jnp.ones((rows, 1), bool),
        positions=jnp.zeros((rows, 1), jnp.int32),
      ),
      cross=None,
      position=jnp.ones((rows,), jnp.int32),
    )

  def hidden(params, context, response, key=None):
    del key
    rest = params["next"][response.ids[:, :-1]]
    return jnp.concatenate([context.last[:, None], rest], axis=1)

  def step(params, cache, ids):
    return params["next"][ids], cache

  return base.Model(
    init=init,
    axes={"first": jax.P(None), "next": jax.P(None, None)},
    encode=encode,
    hidden=hidden,
    unembed=lambda params, states: states,
    init_cache=base.init_cache,
    step=step,
    settings=types_.SimpleNamespace(width=vocabulary),
  )
