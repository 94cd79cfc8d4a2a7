"""Parts that both families are built from.

A parameter's shape, logical axes and initializer are declared together; names,
shardings and abstract trees all derive from that.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from alignment_jax.models import decode_layout

# The dtype of the residual stream, whatever dtype the blocks compute in: they
# read it through a norm and add to it, so that no layer rounds what others
# wrote. It is [B, T, D], and all that the backward pass keeps of a
# rematerialized block, so this costs twice the bytes of a bfloat16 stream.
STREAM = jnp.float32


def parameter(
  module: nn.Module,
  name: str,
  initializer: Callable[..., Array],
  *,
  axes: tuple[str, ...],
  shape: tuple[int, ...],
) -> Array:
  """A float32 parameter of a module, with the logical name of each axis."""
  boxed: Any = nn.with_logical_partitioning(initializer, axes)
  return module.param(name, boxed, shape, jnp.float32)


class Projection(nn.Module):
  """A linear map over the last `contract` axes of its input.

  Attributes:
    shape: input axes first, then output axes.
    axes: the logical name of each.
    contract: how many of them are inputs.
    dtype: of the computation.
    gain: variance of an output over that of an input.
    output_dtype: of the result; `dtype` where None.
    bias: whether a vector is added.
  """

  shape: tuple[int, ...]
  axes: tuple[str, ...]
  contract: int
  dtype: Any
  gain: float = 1.0
  output_dtype: Any = None
  bias: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = self._kernel()
    x = x.astype(self.dtype)
    if isinstance(kernel, decode_layout.Rows):
      rows = kernel.matrix.astype(self.dtype)
      out = decode_layout.product_of_few(
        rows, x.reshape(-1, rows.shape[1]), self.output_dtype
      )
      lead = x.shape[: x.ndim - self.contract]
      out = out.reshape(lead + self.shape[self.contract :])
    else:
      last = tuple(range(x.ndim - self.contract, x.ndim))
      out = jax.lax.dot_general(
        x,
        kernel.astype(self.dtype),
        ((last, tuple(range(self.contract))), ((), ())),
        preferred_element_type=self.output_dtype,
      )
    if not self.bias:
      return out
    bias = parameter(
      self,
      "bias",
      nn.initializers.zeros,
      axes=self.axes[self.contract :],
      shape=self.shape[self.contract :],
    )
    return out + jnp.broadcast_to(bias.astype(out.dtype), out.shape)

  def _kernel(self) -> Array | decode_layout.Rows:
    kernel = self.get_variable("params", "kernel")
    if isinstance(kernel, decode_layout.Rows):
      return kernel
    # Linen compares an array with the shape that is declared here.
    return parameter(
      self,
      "kernel",
      nn.initializers.variance_scaling(
        self.gain,
        "fan_in",
        "truncated_normal",
        in_axis=tuple(range(self.contract)),
        out_axis=tuple(range(self.contract, len(self.shape))),
      ),
      axes=self.axes,
      shape=self.shape,
    )


class RMSNorm(nn.Module):
  """Root-mean-square normalization with a scale, in float32.

  Zhang and Sennrich, 2019 (arXiv:1910.07467). T5's layer norm is this too.

  Attributes:
    epsilon: added to the mean square.
    dtype: of the result.
    offset: the factor is `scale + offset`; Gemma's scale starts at 0 with an
      offset of 1.
    axis: logical name of what is normed.
  """

  epsilon: float
  dtype: Any
  offset: float = 0.0
  axis: str = "width"

  @nn.compact
  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    scale = _vector(self, "scale", 1.0 - self.offset, x.shape[-1])
    x = x.astype(jnp.float32)
    x = x * jax.lax.rsqrt(
      jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon
    )
    return (x * _along(scale + self.offset, x)).astype(self.dtype)


class LayerNorm(nn.Module):
  """Normalization to mean 0 and variance 1, scale and bias, in float32.

  Ba et al., 2016 (arXiv:1607.06450). Attributes are as in `RMSNorm`.
  """

  epsilon: float
  dtype: Any
  axis: str = "width"

  @nn.compact
  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    scale = _vector(self, "scale", 1.0, x.shape[-1])
    bias = _vector(self, "bias", 0.0, x.shape[-1])
    x = x.astype(jnp.float32)
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(
      jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon
    )
    return (x * _along(scale, x) + _along(bias, x)).astype(self.dtype)


def _vector(
  module: "RMSNorm | LayerNorm", name: str, start: float, width: int
) -> Float[Array, "D"]:
  return parameter(
    module,
    name,
    nn.initializers.constant(start),
    axes=(module.axis,),
    shape=(width,),
  )


def _along(vector: Float[Array, "D"], x: Array) -> Array:
  """A vector over the last axis of `x`."""
  return vector.reshape((1,) * (x.ndim - 1) + (-1,))


# What a config may name; `gelu` is exact, `gelu_tanh` its approximation.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "gelu_tanh": jax.nn.gelu,
  "relu": jax.nn.relu,
  "silu": jax.nn.silu,
}


class MLP(nn.Module):
  """activation(x A) * (x B), then back to the width; without B if not gated.

  Shazeer, 2020 (arXiv:2002.05202): SwiGLU with silu, GEGLU with gelu.

  Attributes:
    width: features of the residual stream.
    mlp_width: features inside.
    activation: a key of `ACTIVATIONS`.
    dtype: of the computation.
    gated: whether there is a B.
    bias: whether the maps add a vector.
    output_dtype: that the map back computes in; `dtype` where None.
  """

  width: int
  mlp_width: int
  activation: str
  dtype: Any
  gated: bool = True
  bias: bool = False
  output_dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    def wide(name: str) -> Float[Array, "B T F"]:
      return Projection(
        shape=(self.width, self.mlp_width),
        axes=("width", "mlp"),
        contract=1,
        dtype=self.dtype,
        bias=self.bias,
        name=name,
      )(x)

    inside = ACTIVATIONS[self.activation](wide("gate" if self.gated else "up"))
    if self.gated:
      inside = inside * wide("up")
    return Projection(
      shape=(self.mlp_width, self.width),
      axes=("mlp", "width"),
      contract=1,
      dtype=self.output_dtype or self.dtype,
      bias=self.bias,
      name="out",
    )(inside)


class Embedding(nn.Module):
  """A vector for each token id, and the logits of a state against them.

  Vectors are of dtype `STREAM`; logits are products in `dtype`, whose sums are
  float32.
  """

  vocabulary_size: int
  width: int
  deviation: float
  dtype: Any

  def setup(self) -> None:
    self.table = parameter(
      self,
      "table",
      nn.initializers.normal(self.deviation),
      axes=("vocabulary", "width"),
      shape=(self.vocabulary_size, self.width),
    )

  def __call__(self, ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    return self.table[ids].astype(STREAM)

  def logits(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
    """Inner products with every token's vector."""
    x, table = x.astype(self.dtype), self.table.astype(self.dtype)
    if x.size <= decode_layout.FEW * self.width:
      flat = x.reshape(-1, self.width)
      out = decode_layout.product_of_few(table, flat, jnp.float32)
      return out.reshape(*x.shape[:-1], self.vocabulary_size)
    return jax.lax.dot_general(
      x,
      table,
      (((x.ndim - 1,), (1,)), ((), ())),
      preferred_element_type=jnp.float32,
    )


REMATS = ("none", "dots", "full")


def stacked(
  block: type[nn.Module],
  count: int,
  *,
  scanned: int,
  shared: int,
  remat: str = "none",
) -> Callable[..., nn.Module]:
  """`count` blocks run by one `lax.scan`, so depth does not cost compile time.

  Every parameter of the block gets a leading axis `layers`.

  Args:
    block: a module class; called with the residual stream, then `scanned`
      arguments that have one entry per layer, then `shared` ones that all
      layers see, the last of which is `deterministic`. Returns the new stream
      and what the layer hands back.
    count: how many layers.
    scanned: how many arguments are per layer.
    shared: how many are common.
    remat: what the backward pass computes again instead of keeping: `none`,
      all but the `dots` (matrix products without a batch axis), or `full`.

  Returns:
    What makes the module from the fields of the block.
  """
  if remat != "none":
    policies = jax.checkpoint_policies
    block = nn.remat(
      block,
      policy=policies.dots_with_no_batch_dims_saveable
      if remat == "dots"
      else policies.nothing_saveable,
      # The scan keeps XLA from merging the two computations already.
      prevent_cse=False,
      static_argnums=(scanned + shared + 1,),
    )
  in_axes: Any = (0,) * scanned + (nn.broadcast,) * shared
  return nn.scan(
    block,
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=in_axes,
    length=count,
    metadata_params={nn.PARTITION_NAME: "layers"},
  )
