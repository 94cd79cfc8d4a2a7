"""Parts that both families are built from.

A parameter's shape, logical axes and initialiser are declared together; names,
shardings and abstract trees all derive from that.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Projection(nn.Module):
  """A linear map without bias over the last `contract` axes of its input.

  Attributes:
    shape: input axes first, then output axes.
    axes: the logical name of each.
    contract: how many of them are inputs.
    dtype: of the computation.
    gain: variance of an output over that of an input.
    output_dtype: of the result; `dtype` where None.
  """

  shape: tuple[int, ...]
  axes: tuple[str, ...]
  contract: int
  dtype: Any
  gain: float = 1.0
  output_dtype: Any = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    inputs = tuple(range(self.contract))
    kernel = self.param(
      "kernel",
      nn.with_logical_partitioning(
        nn.initializers.variance_scaling(
          self.gain,
          "fan_in",
          "truncated_normal",
          in_axis=inputs,
          out_axis=tuple(range(self.contract, len(self.shape))),
        ),
        self.axes,
      ),
      self.shape,
      jnp.float32,
    )
    last = tuple(range(x.ndim - self.contract, x.ndim))
    return jax.lax.dot_general(
      x.astype(self.dtype),
      kernel.astype(self.dtype),
      ((last, inputs), ((), ())),
      preferred_element_type=self.output_dtype,
    )


class RMSNorm(nn.Module):
  """Root-mean-square normalisation with a scale, in float32.

  Zhang and Sennrich, 2019 (arXiv:1910.07467). T5's layer norm is this too.
  """

  epsilon: float
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    scale = self.param(
      "scale",
      nn.with_logical_partitioning(nn.initializers.ones, ("width",)),
      (x.shape[-1],),
      jnp.float32,
    )
    x = x.astype(jnp.float32)
    x = x * jax.lax.rsqrt(
      jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon
    )
    return (x * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.dtype)


class GatedMLP(nn.Module):
  """activation(x A) * (x B), then back to the width.

  Shazeer, 2020 (arXiv:2002.05202): SwiGLU with silu, GEGLU with gelu.
  """

  width: int
  mlp_width: int
  activation: Callable[[Array], Array]
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    def wide(name):
      return Projection(
        shape=(self.width, self.mlp_width),
        axes=("width", "mlp"),
        contract=1,
        dtype=self.dtype,
        name=name,
      )(x)

    return Projection(
      shape=(self.mlp_width, self.width),
      axes=("mlp", "width"),
      contract=1,
      dtype=self.dtype,
      name="out",
    )(self.activation(wide("gate")) * wide("up"))


class Embedding(nn.Module):
  """A vector for each token id, and the logits of a state against them."""

  vocabulary_size: int
  width: int
  deviation: float
  dtype: Any

  def setup(self):
    self.table = self.param(
      "table",
      nn.with_logical_partitioning(
        nn.initializers.normal(self.deviation), ("vocabulary", "width")
      ),
      (self.vocabulary_size, self.width),
      jnp.float32,
    )

  def __call__(self, ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    return self.table.astype(self.dtype)[ids]

  def logits(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
    """Inner products with every token's vector."""
    return jax.lax.dot_general(
      x.astype(self.dtype),
      self.table.astype(self.dtype),
      (((x.ndim - 1,), (1,)), ((), ())),
      preferred_element_type=jnp.float32,
    )


def stacked(block, count: int, *, scanned: int, shared: int):
  """`count` blocks run by one `lax.scan`, so depth does not cost compile time.

  Every parameter of the block gets a leading axis `layers`.

  Args:
    block: a module class; called with the residual stream, then `scanned`
      arguments that have one entry per layer, then `shared` ones that all
      layers see. Returns the new stream and what the layer hands back.
    count: how many layers.
    scanned: how many arguments are per layer.
    shared: how many are common.
  """
  return nn.scan(
    block,
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(0,) * scanned + (nn.broadcast,) * shared,
    length=count,
    metadata_params={nn.PARTITION_NAME: "layers"},
  )
