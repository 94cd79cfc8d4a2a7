"""Prompts, responses and networks that the tests of scoring share."""

import jax
import jax.numpy as jnp
import numpy as np

from alignment_jax.models import base, heads
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
VOCABULARY, ROWS, COUNT, RESPONSE = 17, 2, 2, 7
PROMPTS = Tokens(
  ids=jnp.array([[9, 9, 3, 1], [2, 4, 6, 8]]),
  mask=jnp.array([[False, False, True, True], [True] * 4]),
)
LENGTHS = np.array([[7, 3], [1, 0]])
MASK = np.arange(RESPONSE) < LENGTHS[..., None]
RESPONSES = Tokens(
  ids=jnp.asarray(
    np.random.default_rng(0).integers(VOCABULARY, size=(ROWS, COUNT, RESPONSE)),
    jnp.int32,
  ),
  mask=jnp.asarray(MASK),
)


def bigram(vocabulary):
  """A network whose state is the one-hot vector of the last token it read."""

  def state(ids):
    return jax.nn.one_hot(ids, vocabulary)

  def encode(params, prompt, key=None):
    rows = prompt.ids.shape[0]
    nothing = jnp.zeros((1, rows, 0, 1, 1))
    return base.Context(
      last=state(prompt.ids[:, -1]),
      prefix=base.Memory(
        keys=nothing,
        values=nothing,
        mask=jnp.zeros((rows, 0), bool),
        positions=jnp.zeros((rows, 0), jnp.int32),
      ),
      cross=None,
      position=jnp.zeros(rows, jnp.int32),
    )

  def hidden(params, context, response, key=None):
    return jnp.concatenate(
      [context.last[:, None], state(response.ids[:, :-1])], axis=1
    )

  return base.Model(
    init=None,
    axes=None,
    encode=encode,
    hidden=hidden,
    unembed=lambda params, x: x @ params,
    init_cache=base.init_cache,
    step=None,
    settings=None,
  )


def logits_table(vocabulary):
  """Row i holds the logits after token i."""
  table = np.random.default_rng(1).normal(size=(vocabulary, vocabulary))
  return jnp.asarray(table, jnp.float32)


def bigram_world():
  table = logits_table(5)
  return bigram(5), table, np.asarray(table, np.float64)


def padded(tokens, left=0, right=0):
  """More of what the mask hides, with ids that would tell."""
  width = [(0, 0)] * (tokens.ids.ndim - 1) + [(left, right)]
  return Tokens(
    ids=jnp.pad(
      jnp.where(tokens.mask, tokens.ids, 5), width, constant_values=7
    ),
    mask=jnp.pad(tokens.mask, width),
  )


def with_head(network):
  model, params = network
  head = heads.init_scalar(jax.random.key(1), model.settings.width)
  return model, {"network": params, "head": head}
