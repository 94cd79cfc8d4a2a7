"""The fused kernels against XLA; Pallas is interpreted, cuDNN only lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from alignment_jax import errors, models
from alignment_jax.models import attention, attention_choice, attention_kernels
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
ROWS, PREFIX, NEW, HEADS, KV_HEADS, WIDTH = 2, 40, 100, 2, 1, 8


def _arrays():
  random = np.random.default_rng(0)
  keys = PREFIX + NEW
  return (
    jnp.asarray(random.normal(size=shape), jnp.float32)
    for shape in (
      (ROWS, NEW, HEADS, WIDTH),
      (ROWS, keys, KV_HEADS, WIDTH),
      (ROWS, keys, KV_HEADS, WIDTH),
      (ROWS, NEW, HEADS, WIDTH),
    )
  )


@pytest.mark.parametrize("window, softcap", [(0, 0.0), (7, 2.0)])
def test_splash_is_xla_at_real_tokens_of_padded_rows(window, softcap):
  query, key, value, weight = _arrays()
  # A left-padded prompt before a right-padded response.
  prefix = jnp.arange(PREFIX)[None] >= jnp.array([[25], [0]])
  new = jnp.arange(NEW)[None] < jnp.array([[NEW], [60]])
  mask = attention.with_prefix(prefix, new)
  if window:
    index = jnp.arange(PREFIX + NEW)
    mask &= (index[PREFIX:, None] - index[None] < window)[None]
  options = dict(
    mask=mask,
    order=attention.order_with_prefix(prefix, new, window),
    bias=None,
    scale=0.3,
    softcap=softcap,
  )

  def measured(run):
    def total(query, key, value):
      out = run(query, key, value, **options)
      out = jnp.where(new[..., None, None], out, 0.0)
      return jnp.sum(out * weight), out

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))

  splash = functools.partial(attention_kernels.splash, interpret=True)
  # Pallas' own backward pass promotes and broadcasts.
  with jax.numpy_dtype_promotion("standard"):
    (_, actual), gradients = measured(splash)(query, key, value)
  (_, expected), true_gradients = measured(attention_kernels.xla)(
    query, key, value
  )
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  for one, other in zip(gradients, true_gradients, strict=True):
    assert np.all(np.isfinite(one))
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_decoder_gives_splash_the_order_of_its_mask(monkeypatch):
  interpreted = functools.partial(attention_kernels.splash, interpret=True)
  kernel = attention_choice.Kernel(interpreted)
  monkeypatch.setitem(attention_choice.KERNELS, "splash", kernel)
  prompt = Tokens(
    ids=jnp.array([[7, 7, 3, 1, 2], [2, 4, 6, 8, 1]]),
    mask=jnp.array([[False, False, True, True, True], [True] * 5]),
  )
  response = Tokens(
    ids=jnp.array([[5, 2, 4, 1], [3, 3, 0, 0]]),
    mask=jnp.array([[True] * 4, [True, True, False, False]]),
  )

  def states(attention):
    model = models.make_model(
      "decoder_tiny",
      vocabulary_size=9,
      layers=1,
      heads=1,
      kv_heads=1,
      window=3,
      attention=attention,
    )

    def read(key):
      params = model.init(key)
      return model.hidden(params, model.encode(params, prompt), response)

    return np.asarray(jax.jit(read, compiler_options=QUICK)(jax.random.key(0)))

  splash, xla = states("splash"), states("xla")
  np.testing.assert_allclose(splash[0], xla[0], atol=1e-5)
  np.testing.assert_allclose(splash[1, :3], xla[1, :3], atol=1e-5)


def _cudnn_is_there(monkeypatch):
  """Lowering asks for its version, which a machine without it cannot say."""
  from jax._src.cudnn import fused_attention_stablehlo

  monkeypatch.setattr(
    fused_attention_stablehlo, "check_cudnn_version", lambda: 91_000
  )


@pytest.mark.parametrize("new", [7, 8])
def test_a_cuda_program_calls_cudnn_forwards_and_backwards(new, monkeypatch):
  _cudnn_is_there(monkeypatch)

  def total(query, key, value, mask):
    out = attention_kernels.cudnn(
      query,
      key,
      value,
      mask=mask,
      order=None,
      bias=None,
      scale=1.0,
      softcap=0.0,
    )
    return out.sum()

  head = jax.ShapeDtypeStruct((2, new, 4, 16), jnp.bfloat16)
  memory = jax.ShapeDtypeStruct((2, 5 + new, 2, 16), jnp.bfloat16)
  mask = jax.ShapeDtypeStruct((2, new, 5 + new), jnp.bool)
  traced = jax.jit(jax.grad(total)).trace(head, memory, memory, mask)
  text = traced.lower(lowering_platforms=("cuda",)).as_text()
  for call in ("__cudnn$fmhaScaleBias", "__cudnn$fmhaScaleBiasSoftmaxBackward"):
    assert call in text


def test_a_tpu_program_calls_the_splash_kernels():
  def total(query, key, value, order):
    out = attention_kernels.splash(
      query,
      key,
      value,
      mask=attention.with_prefix(order.keys[:, :100], order.queries),
      order=order,
      bias=None,
      scale=0.1,
      softcap=0.0,
    )
    return out.astype(jnp.float32).sum()

  head = jax.ShapeDtypeStruct((2, 200, 4, 64), jnp.bfloat16)
  memory = jax.ShapeDtypeStruct((2, 300, 2, 64), jnp.bfloat16)
  order = attention_kernels.Order(
    queries=jax.ShapeDtypeStruct((2, 200), jnp.bool),
    keys=jax.ShapeDtypeStruct((2, 300), jnp.bool),
  )
  # Pallas' own backward pass promotes.
  with jax.numpy_dtype_promotion("standard"):
    traced = jax.jit(jax.grad(total)).trace(head, memory, memory, order)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
  for kernel in ("fwd", "dq"):
    assert f"splash_mha_{kernel}" in text
  assert text.count("tpu_custom_call") > 1


def test_a_model_refuses_a_kernel_that_cannot_run_here():
  for name in ("decoder_tiny", "t5_tiny"):
    model = models.make_model(name, vocabulary_size=5, attention="cudnn")
    with pytest.raises(errors.UserError, match="'cudnn' needs an NVIDIA GPU"):
      _trace_two_tokens(model)


def _trace_two_tokens(model):
  prompt = Tokens(ids=jnp.zeros((1, 2), jnp.int32), mask=jnp.ones((1, 2), bool))
  jax.eval_shape(
    lambda key: model.encode(model.init(key), prompt), jax.random.key(0)
  )


def test_each_case_is_logged_once_with_its_reason(monkeypatch):
  lines = []
  monkeypatch.setattr(
    logging, "info", lambda text, *values: lines.append(text % values)
  )
  case = dict(
    dtype="float32",
    keys=41,
    head_width=8,
    biased=False,
    softcap=0.0,
    ordered=True,
  )
  for queries in (37, 37, 38):
    attention_choice.kernel_for("auto", queries=queries, **case)
  assert len(lines) == 2
  assert "37 queries to 41 keys in float32" in lines[0]
  assert "xla, because cudnn needs an NVIDIA GPU, got cpu; splash" in lines[0]
