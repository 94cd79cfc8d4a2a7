"""GGUF files, written here with the `gguf` package."""

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alignment_jax import errors
from alignment_jax.models import gguf_file, huggingface, zoo
from alignment_jax.models.decoder_settings import DecoderSettings

SETTINGS = DecoderSettings(
  vocabulary_size=24,
  width=32,
  layers=2,
  heads=4,
  kv_heads=2,
  head_width=8,
  mlp_width=64,
  norm_epsilon=1e-5,
  rope_theta=1e5,
  max_length=64,
  tied=False,
)
NAMES = {
  "model.embed_tokens": "token_embd",
  "model.norm": "output_norm",
  "lm_head": "output",
  "model.layers": "blk",
  "input_layernorm": "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "post_attention_layernorm": "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
}


def _interleaved(array, heads):
  """Rows as llama.cpp's converter leaves them: halves become pairs."""
  halves = array.reshape(heads, 2, array.shape[0] // heads // 2, -1)
  return halves.swapaxes(1, 2).reshape(array.shape)


@pytest.fixture
def params():
  random = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.1 * random.normal(size=leaf.shape), leaf.dtype),
    jax.eval_shape(zoo.build(SETTINGS).init, jax.random.key(0)),
  )


@pytest.fixture
def write(tmp_path, params):
  """A function that writes the model, quantised or not."""
  huggingface.save(tmp_path / "hub", SETTINGS, params)
  tensors = load_file(tmp_path / "hub" / "model.safetensors")

  def write(quantised=False, architecture="llama", leave_out=()):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(SETTINGS.layers)
    writer.add_context_length(SETTINGS.max_length)
    writer.add_embedding_length(SETTINGS.width)
    writer.add_feed_forward_length(SETTINGS.mlp_width)
    writer.add_head_count(SETTINGS.heads)
    writer.add_head_count_kv(SETTINGS.kv_heads)
    writer.add_rope_freq_base(SETTINGS.rope_theta)
    writer.add_rope_dimension_count(SETTINGS.head_width)
    writer.add_layer_norm_rms_eps(SETTINGS.norm_epsilon)
    for name, tensor in tensors.items():
      if "q_proj" in name:
        tensor = _interleaved(tensor, SETTINGS.heads)
      if "k_proj" in name:
        tensor = _interleaved(tensor, SETTINGS.kv_heads)
      for hub_name, gguf_name in NAMES.items():
        name = name.replace(hub_name, gguf_name)
      if name in leave_out:
        continue
      kind = None
      if quantised and tensor.ndim == 2:
        kind = gguf.GGMLQuantizationType.Q8_0
        tensor = gguf.quants.quantize(tensor, kind)
      writer.add_tensor(name, tensor, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

  return write


def test_the_model_in_the_file_is_the_model_that_was_written(write, params):
  model, read = gguf_file.load(write())
  assert model.settings == SETTINGS
  for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True):
    np.testing.assert_array_equal(a, b)


def test_quantised_weights_are_near_what_they_were(write, params):
  _, read = gguf_file.load(write(quantised=True))
  for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True):
    # 8 bits: half a step of 1/127 of the largest of 32 numbers
    assert np.abs(a - b).max() <= np.abs(b).max() / 127


def _truncated(write):
  path = write()
  path.write_bytes(path.read_bytes()[:-500])
  return path


@pytest.mark.parametrize(
  "make, message",
  [
    (lambda write: write(architecture="mamba"), "no architecture.*'mamba'"),
    (
      lambda write: write(leave_out=("blk.1.ffn_up.weight",)),
      "no tensor 'model.layers.1.mlp.up_proj.weight'",
    ),
    (_truncated, "not a whole GGUF file.*fetch it again"),
    (lambda write: write().with_name("none.gguf"), "there is no file"),
  ],
)
def test_a_bad_file_is_one_error_that_names_the_fault(write, make, message):
  with pytest.raises(errors.UserError, match=message):
    gguf_file.load(make(write))
