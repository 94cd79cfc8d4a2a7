"""The border: what every network offers, encoder-decoder or decoder-only.

Both families are read the same way. A prompt is encoded once into a `Context`:
the state that predicts the first response token, and what self-attention has
already read (the prompt in a decoder, the start token in T5, whose prompt is
behind cross-attention). Response tokens then extend that prefix, all at once
(`hidden`) or one by one (`step`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax.types import Tokens

Params = PyTree


@flax.struct.dataclass
class Memory:
  """Keys and values of tokens that attention may look at, for each layer.

  Axes: L layers, B rows, S tokens, H key-value heads, D width of a head.
  """

  keys: Float[Array, "L B S H D"]
  values: Float[Array, "L B S H D"]
  mask: Bool[Array, "B S"]
  positions: Int[Array, "B S"]


@flax.struct.dataclass
class Context:
  """A prompt that has been read.

  Attributes:
    last: the state that predicts the first response token.
    prefix: what self-attention has read so far.
    cross: the encoder's output per decoder layer; None in a decoder.
    position: the position of the first response token.
  """

  last: Float[Array, "B D"]
  prefix: Memory
  cross: Memory | None
  position: Int[Array, "B"]


@flax.struct.dataclass
class Cache:
  """A context with room for the response tokens that are fed one by one.

  Attributes:
    prefix: as in `Context`, with free slots behind it (mask False).
    cross: as in `Context`.
    position: the position of the next token.
    slot: where in `prefix` the next token goes.
  """

  prefix: Memory
  cross: Memory | None
  position: Int[Array, "B"]
  slot: Int[Array, ""]


class Model(NamedTuple):
  """A network as pure functions over a plain dict of arrays.

  Axes: B rows, T response tokens, D width, V vocabulary.

  Attributes:
    init: (key) -> Params.
    axes: the same tree as Params; each leaf a `PartitionSpec` of logical axis
      names.
    encode: (Params, prompt Tokens, key=None) -> Context. A key turns dropout
      on, here and in `hidden`.
    hidden: (Params, Context, response Tokens, key=None) -> [B, T, D]; entry t
      predicts `response.ids[:, t]`.
    unembed: (Params, [..., D]) -> [..., V] logits.
    init_cache: (Context, room for this many tokens) -> Cache.
    step: (Params, Cache, ids [B]) -> ([B, D], Cache): reads one token, returns
      the state that predicts the next. `Context.last` predicts the first.
    settings: the frozen dataclass the network was made from.
  """

  init: Callable[[Key[Array, ""]], Params]
  axes: PyTree
  encode: Callable[..., Context]
  hidden: Callable[..., Float[Array, "B T D"]]
  unembed: Callable[[Params, Array], Array]
  init_cache: Callable[[Context, int], Cache]
  step: Callable[..., tuple[Float[Array, "B D"], Cache]]
  settings: Any


def leaf_name(path) -> str:
  """The path of a parameter, such as `blocks/mlp/up/kernel`."""
  return "/".join(str(entry.key) for entry in path)


class Network(Protocol):
  """What a family's Linen module provides; `make` builds the border from it."""

  def read_prompt(self, prompt: Tokens) -> Context:
    """Reads a prompt."""

  def read(
    self,
    ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    positions: Int[Array, "B T"],
    prefix: Memory,
    cross: Memory | None,
  ) -> tuple[Float[Array, "B T D"], Memory]:
    """Reads further tokens; returns their states and what they add."""

  def unembed(self, hidden: Float[Array, "*batch D"]) -> Array:
    """Logits over the vocabulary."""


def make(network: Any, settings: Any) -> Model:
  """The border around a Linen module that is a `Network`."""

  def run(params, method, *args, key=None):
    rngs = {} if key is None else {"dropout": key}
    return network.apply(
      {"params": params},
      *args,
      rngs=rngs,
      method=method,
      **({} if method == "unembed" else {"deterministic": key is None}),
    )

  def boxed(key):
    one = jnp.zeros((1, 1), jnp.int32)
    tokens = Tokens(ids=one, mask=one == 0)
    return network.init(key, tokens, method="initialise")["params"]

  def init(key):
    return nn.meta.unbox(boxed(key))

  def encode(params, prompt, key=None):
    return run(params, "read_prompt", prompt, key=key)

  def hidden(params, context, response, key=None):
    first = context.last[:, None]
    ids, mask = response.ids[:, :-1], response.mask[:, :-1]
    if ids.shape[1] == 0:
      return first
    positions = context.position[:, None] + jnp.arange(ids.shape[1])[None]
    rest, _ = run(
      params,
      "read",
      ids,
      mask,
      positions,
      context.prefix,
      context.cross,
      key=key,
    )
    return jnp.concatenate([first, rest], axis=1)

  def step(params, cache, ids):
    new, added = run(
      params,
      "read",
      ids[:, None],
      jnp.ones((ids.shape[0], 1), bool),
      cache.position[:, None],
      cache.prefix,
      cache.cross,
    )
    prefix = jax.tree.map(
      lambda old, token, axis: jax.lax.dynamic_update_slice_in_dim(
        old, token, cache.slot, axis
      ),
      cache.prefix,
      added,
      _TOKEN_AXIS,
    )
    return new[:, 0], cache.replace(
      prefix=prefix, position=cache.position + 1, slot=cache.slot + 1
    )

  axes = nn.get_partition_spec(jax.eval_shape(boxed, jax.random.key(0)))
  return Model(
    init=init,
    axes=axes,
    encode=encode,
    hidden=hidden,
    unembed=lambda params, x: run(params, "unembed", x),
    init_cache=init_cache,
    step=step,
    settings=settings,
  )


_TOKEN_AXIS = Memory(keys=2, values=2, mask=1, positions=1)
_ROW_AXIS = Memory(keys=1, values=1, mask=0, positions=0)


def init_cache(context: Context, room: int) -> Cache:
  """A cache that starts at `context` and can take `room` tokens."""
  prefix = jax.tree.map(
    lambda array, axis: jnp.pad(
      array, [(0, room if i == axis else 0) for i in range(array.ndim)]
    ),
    context.prefix,
    _TOKEN_AXIS,
  )
  return Cache(
    prefix=prefix,
    cross=context.cross,
    position=context.position,
    slot=jnp.asarray(context.prefix.mask.shape[1], jnp.int32),
  )


def repeat(context: Context, count: int) -> Context:
  """Each row `count` times in a row: [a, b] becomes [a, a, b, b]."""

  def rows(array, axis):
    return jnp.repeat(array, count, axis=axis)

  return Context(
    last=rows(context.last, 0),
    prefix=jax.tree.map(rows, context.prefix, _ROW_AXIS),
    cross=None
    if context.cross is None
    else jax.tree.map(rows, context.cross, _ROW_AXIS),
    position=rows(context.position, 0),
  )
