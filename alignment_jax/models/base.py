"""The border: what every network offers, encoder-decoder or decoder-only.

Both families are read the same way. A prompt is encoded once into a `Context`:
the state that predicts the first response token, and what self-attention has
already read (the prompt in a decoder, the start token in T5, whose prompt is
behind cross-attention). Response tokens then extend that prefix, all at once
(`hidden`) or one by one (`step`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from alignment_jax.models import decode_layout
from alignment_jax.types import Tokens

Params = PyTree


@flax.struct.dataclass
class Memory:
  """Keys and values of the tokens that attention sees, for each layer.

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
class Slots:
  """A `Memory` with an array for each layer, which is written in place.

  Axes are in the order of `decode_layout.in_slots`.
  """

  keys: tuple[Float[Array, "B H D S"], ...]
  values: tuple[Float[Array, "B H S D"], ...]
  mask: Bool[Array, "B S"]
  positions: Int[Array, "B S"]


@flax.struct.dataclass
class Cache:
  """A context with room for the response tokens that are fed one by one.

  Attributes:
    prefix: as in `Context`, with free slots behind it (mask False).
    cross: as in `Context`.
    position: the position of the next token.
    slot: where in `prefix` the next token goes.
  """

  prefix: Slots
  cross: Slots | None
  position: Int[Array, "B"]
  slot: Int[Array, ""]


def repeat(context: Context, count: int) -> Context:
  """Each row `count` times: [a, b] becomes [a, a, b, b]."""

  def rows(array: Array, axis: int) -> Array:
    return jnp.repeat(array, count, axis=axis)

  def memory(memory: Memory) -> Memory:
    return Memory(
      keys=rows(memory.keys, 1),
      values=rows(memory.values, 1),
      mask=rows(memory.mask, 0),
      positions=rows(memory.positions, 0),
    )

  return Context(
    last=rows(context.last, 0),
    prefix=memory(context.prefix),
    cross=None if context.cross is None else memory(context.cross),
    position=rows(context.position, 0),
  )


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
    repeat: (Context, count) -> Context with each row `count` times, for so
      many responses to each prompt.
    for_decoding: (Params) -> Params in a layout that is quicker for `step` and
      `unembed`, which take either; to be called once before a loop of steps.
      What is in it already is returned as it is. The identity by default.
  """

  init: Callable[[Key[Array, ""]], Params]
  axes: PyTree
  encode: Callable[..., Context]
  hidden: Callable[..., Float[Array, "B T D"]]
  unembed: Callable[[Params, Array], Array]
  init_cache: Callable[[Context, int], Cache]
  step: Callable[..., tuple[Float[Array, "B D"], Cache]]
  settings: Any
  repeat: Callable[[Context, int], Context] = repeat
  for_decoding: Callable[[Params], Params] = lambda params: params


def leaf_name(path: tuple[Any, ...]) -> str:
  """The path of a parameter, such as `blocks/mlp/up/kernel`."""
  return "/".join(str(entry.key) for entry in path)


class Network(Protocol):
  """What a family's Linen module provides; `make` builds the border from it."""

  def read_prompt(self, prompt: Tokens, *, deterministic: bool) -> Context:
    """Reads a prompt; with dropout unless it is `deterministic`."""
    ...

  def read(
    self,
    ids: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    positions: Int[Array, "B T"],
    prefix: Memory,
    cross: Memory | None,
    *,
    deterministic: bool,
  ) -> tuple[Float[Array, "B T D"], Memory]:
    """Reads further tokens; returns their states and what they add."""
    ...

  def feed(
    self,
    ids: Int[Array, "B"],
    cache: Cache,
    layers: tuple[Params, ...],
  ) -> tuple[Float[Array, "B D"], tuple[tuple[Array, Array], ...]]:
    """Reads one token, whose slot is marked in the cache; returns its state
    and each layer's keys and values with it. `layers` are the parameters of
    the layers that the cache is of."""
    ...

  def unembed(self, hidden: Float[Array, "*batch D"]) -> Array:
    """Logits over the vocabulary."""
    ...

  def initialize(self, prompt: Tokens) -> Array:
    """Runs every module once, so that Linen makes all parameters."""
    ...


def make(network: Any, settings: Any, *, stack: str) -> Model:
  """The border around a Linen module that is a `Network`.

  Args:
    network: the module.
    settings: what it was made from.
    stack: name of the parameters of the layers that `feed` runs; their first
      axis is the layer.
  """

  def run(params: Params, method: str, *args: Any, **kwargs: Any) -> Any:
    return network.apply({"params": params}, *args, method=method, **kwargs)

  def dropout(key: Key[Array, ""] | None) -> dict[str, Any]:
    return {
      "deterministic": key is None,
      "rngs": {} if key is None else {"dropout": key},
    }

  def boxed(key: Key[Array, ""]) -> PyTree:
    """Parameters with the logical names of their axes, as Linen boxes them."""
    ids = jnp.zeros((1, 1), jnp.int32)
    prompt = Tokens(ids=ids, mask=jnp.ones((1, 1), bool))
    return network.init(key, prompt, method="initialize")["params"]

  def init(key: Key[Array, ""]) -> Params:
    return nn.meta.unbox(boxed(key))

  def encode(
    params: Params, prompt: Tokens, key: Key[Array, ""] | None = None
  ) -> Context:
    return run(params, "read_prompt", prompt, **dropout(key))

  def hidden(
    params: Params,
    context: Context,
    response: Tokens,
    key: Key[Array, ""] | None = None,
  ) -> Float[Array, "B T D"]:
    # Entry t predicts token t, so nothing reads the last token.
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
      **dropout(key),
    )
    return jnp.concatenate([first, rest], axis=1)

  def for_decoding(params: Params) -> Params:
    return decode_layout.for_decoding(params, axes, stack=stack)

  def step(
    params: Params, cache: Cache, ids: Int[Array, "B"]
  ) -> tuple[Float[Array, "B D"], Cache]:
    params = for_decoding(params)

    def mark(array: Array, column: Array) -> Array:
      return jax.lax.dynamic_update_slice_in_dim(
        array, column[:, None], cache.slot, axis=1
      )

    prefix = dataclasses.replace(
      cache.prefix,
      mask=mark(cache.prefix.mask, jnp.ones(ids.shape, bool)),
      positions=mark(cache.prefix.positions, cache.position),
    )
    state, pairs = run(
      params,
      "feed",
      ids,
      dataclasses.replace(cache, prefix=prefix),
      params[stack],
    )
    keys, values = zip(*pairs, strict=True)
    return state, dataclasses.replace(
      cache,
      prefix=dataclasses.replace(prefix, keys=keys, values=values),
      position=cache.position + 1,
      slot=cache.slot + 1,
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
    for_decoding=for_decoding,
  )


def init_cache(context: Context, room: int) -> Cache:
  """A cache that starts at `context` and can take `room` tokens."""
  return Cache(
    prefix=_slots(context.prefix, room),
    cross=None if context.cross is None else _slots(context.cross, 0),
    position=context.position,
    slot=jnp.asarray(context.prefix.mask.shape[1], jnp.int32),
  )


def _slots(memory: Memory, room: int) -> Slots:
  """The memory with room for so many tokens behind it."""
  keys, values = decode_layout.in_slots(
    *(
      jnp.pad(array, [(0, 0), (0, 0), (0, room), (0, 0), (0, 0)])
      for array in (memory.keys, memory.values)
    )
  )
  return Slots(
    keys=decode_layout.unstack(keys),
    values=decode_layout.unstack(values),
    mask=jnp.pad(memory.mask, [(0, 0), (0, room)]),
    positions=jnp.pad(memory.positions, [(0, 0), (0, room)]),
  )
