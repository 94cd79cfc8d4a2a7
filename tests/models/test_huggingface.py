"""Folders in the hub's format, written and read here; no torch is needed.

That the numbers are those of transformers is for `test_parity.py`.
"""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from alignment_jax import errors, parallel
from alignment_jax.models import huggingface, zoo
from alignment_jax.models.decoder_settings import DecoderSettings
from alignment_jax.models.t5 import T5Settings
from alignment_jax.types import Tokens

QUICK = {"xla_backend_optimization_level": 0}
SHAPE = dict(
  vocabulary_size=19,
  width=16,
  layers=3,
  heads=4,
  kv_heads=2,
  head_width=6,
  mlp_width=20,
)
GPT = dict(
  SHAPE,
  kv_heads=4,
  head_width=4,
  norm="layer",
  norm_epsilon=1e-5,
  gated=False,
  attention_bias=True,
  output_bias=True,
  mlp_bias=True,
)
GEMMA = dict(
  SHAPE, norm_offset=1.0, embedding_scale=4.0, activation="gelu_tanh"
)
ENCODER_DECODER = dict(
  vocabulary_size=19,
  width=16,
  encoder_layers=2,
  decoder_layers=3,
  heads=3,
  head_width=6,
  mlp_width=20,
)
SETTINGS = {
  "gpt2": DecoderSettings(
    **GPT, architecture="gpt2", activation="gelu_tanh", learned_positions=32
  ),
  "gpt_neox": DecoderSettings(
    **GPT,
    architecture="gpt_neox",
    activation="gelu",
    parallel=True,
    rope_share=0.5,
    tied=False,
  ),
  "llama": DecoderSettings(**SHAPE, tied=False),
  "llama_3.1": DecoderSettings(
    **SHAPE,
    rope_factor=8.0,
    rope_original_length=64,
    attention_bias=True,
    output_bias=True,
    mlp_bias=True,
  ),
  "mistral": DecoderSettings(**SHAPE, architecture="mistral", window=3),
  "qwen2": DecoderSettings(**SHAPE, architecture="qwen2", attention_bias=True),
  "qwen3": DecoderSettings(**SHAPE, architecture="qwen3", qk_norm=True),
  "gemma": DecoderSettings(**GEMMA, architecture="gemma"),
  "gemma2": DecoderSettings(
    **GEMMA,
    architecture="gemma2",
    post_norms=True,
    query_scale=0.25,
    attention_softcap=5.0,
    final_softcap=3.0,
    window=3,
    global_every=2,
  ),
  "gemma3": DecoderSettings(
    **GEMMA,
    architecture="gemma3_text",
    post_norms=True,
    qk_norm=True,
    query_scale=0.25,
    window=3,
    global_every=2,
    local_rope_theta=100.0,
  ),
  "t5_1.0": T5Settings(
    **ENCODER_DECODER,
    tied=True,
    scaled_logits=True,
    gated=False,
    activation="relu",
  ),
  "t5_1.1": T5Settings(**ENCODER_DECODER),
  "ul2": T5Settings(**ENCODER_DECODER, activation="silu"),
  "mt5": T5Settings(**ENCODER_DECODER, architecture="mt5", tied=True),
}
PROMPT = Tokens(
  ids=jnp.asarray([[0, 0, 3, 4, 5], [6, 7, 8, 9, 10]]),
  mask=jnp.asarray([[False, False, True, True, True], [True] * 5]),
)
RESPONSE = Tokens(
  ids=jnp.asarray([[11, 12, 13, 14], [15, 16, 17, 18]]),
  mask=jnp.ones((2, 4), bool),
)


def _random(model):
  """Numbers of which none is special; nothing is compiled."""
  random = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      random.normal(size=leaf.shape) * leaf.shape[-1] ** -0.5, leaf.dtype
    ),
    jax.eval_shape(model.init, jax.random.key(0)),
  )


@pytest.fixture(scope="module", params=SETTINGS)
def world(request):
  model = zoo.build(SETTINGS[request.param])
  return model, _random(model)


def _states(model, params, prompt=PROMPT, response=RESPONSE):
  def run(params, prompt, response):
    return model.hidden(params, model.encode(params, prompt), response)

  return (
    jax.jit(run)
    .lower(params, prompt, response)
    .compile(QUICK)(params, prompt, response)
  )


def _equal(one, other):
  assert jax.tree.structure(one) == jax.tree.structure(other)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.fixture
def folder(tmp_path):
  """A llama on disk, in one file."""
  settings = SETTINGS["llama"]
  params = _random(zoo.build(settings))
  huggingface.save(tmp_path / "llama", settings, params)
  return tmp_path / "llama"


def test_out_and_in_again_is_the_same_model(world, tmp_path):
  model, params = world
  huggingface.save(tmp_path / "out", model.settings, params)
  again, read = huggingface.load(tmp_path / "out")
  assert again.settings == model.settings
  _equal(read, params)


def test_in_and_out_again_is_the_same_folder(world, tmp_path):
  model, params = world
  huggingface.save(tmp_path / "one", model.settings, params)
  again, read = huggingface.load(tmp_path / "one")
  huggingface.save(tmp_path / "two", again.settings, read)
  for name in ("config.json", "model.safetensors"):
    assert (tmp_path / "one" / name).read_bytes() == (
      tmp_path / "two" / name
    ).read_bytes()


def test_many_small_files_hold_the_same_model(tmp_path):
  settings = SETTINGS["t5_1.1"]
  params = _random(zoo.build(settings))
  huggingface.save(tmp_path / "out", settings, params, max_shard_bytes=6000)
  files = sorted((tmp_path / "out").glob("*.safetensors"))
  assert len(files) > 3
  assert all(path.stat().st_size < 6000 + 4000 for path in files)
  _, read = huggingface.load(tmp_path / "out")
  _equal(read, params)


def test_every_device_reads_its_own_part(folder):
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  _, whole = huggingface.load(folder)
  _, parts = huggingface.load(
    folder, sharding_fn=lambda tree, axes: parallel.shardings(mesh, tree, axes)
  )
  kernel = parts["blocks"]["mlp"]["up"]["kernel"]
  assert kernel.addressable_shards[0].data.shape == (3, 4, 10)
  _equal(whole, parts)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_on_disk_is_float32_in_memory(folder, tmp_path, dtype):
  model, params = huggingface.load(folder)
  huggingface.save(tmp_path / "half", model.settings, params, dtype=dtype)
  assert (tmp_path / "half" / "model.safetensors").stat().st_size < 0.6 * (
    folder / "model.safetensors"
  ).stat().st_size
  _, read = huggingface.load(tmp_path / "half")
  for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(params), strict=True):
    assert a.dtype == jnp.float32
    np.testing.assert_array_equal(a, b.astype(dtype).astype(jnp.float32))


def test_a_checkpoint_of_the_bare_network_is_read(folder):
  tensors = load_file(folder / "model.safetensors")
  bare = {
    name.removeprefix("model."): value
    for name, value in tensors.items()
    if name != "lm_head.weight"
  }
  config = json.loads((folder / "config.json").read_text())
  config["tie_word_embeddings"] = True
  (folder / "config.json").write_text(json.dumps(config))
  save_file(bare, folder / "model.safetensors")
  _, read = huggingface.load(folder)
  np.testing.assert_array_equal(
    read["embedding"]["table"], tensors["model.embed_tokens.weight"]
  )


def test_step_by_step_gives_the_states_of_all_at_once(world):
  model, params = world
  expected = _states(model, params)

  def run(params, prompt, ids):
    context = model.encode(params, prompt)

    def body(cache, token):
      state, cache = model.step(params, cache, token)
      return cache, state

    _, states = jax.lax.scan(
      body, model.init_cache(context, 4), jnp.moveaxis(ids[:, :-1], 1, 0)
    )
    return context.last, jnp.moveaxis(states, 0, 1)

  first, rest = (
    jax.jit(run)
    .lower(params, PROMPT, RESPONSE.ids)
    .compile(QUICK)(params, PROMPT, RESPONSE.ids)
  )
  np.testing.assert_allclose(first, expected[:, 0], atol=1e-4)
  np.testing.assert_allclose(rest, expected[:, 1:], atol=1e-4)


def test_more_padding_on_the_left_changes_nothing(world):
  model, params = world
  wider = jax.tree.map(lambda a: jnp.pad(a, [(0, 0), (3, 0)]), PROMPT)
  np.testing.assert_allclose(
    _states(model, params, wider), _states(model, params), atol=1e-5
  )


@pytest.mark.parametrize("remat", ["dots", "full"])
@pytest.mark.parametrize("name", ["llama", "t5_1.1"])
def test_computing_again_changes_no_gradient(name, remat):
  settings = SETTINGS[name]
  params = _random(zoo.build(settings))

  def gradients(remat):
    model = zoo.build(zoo.changed(settings, {"remat": remat}))

    def loss(params):
      context = model.encode(params, PROMPT)
      return jnp.sum(jnp.square(model.hidden(params, context, RESPONSE)))

    return jax.jit(jax.grad(loss)).lower(params).compile(QUICK)(params)

  for a, b in zip(
    jax.tree.leaves(gradients(remat)),
    jax.tree.leaves(gradients("none")),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_window_hides_what_is_further_back():
  # Two layers of window 3: the state at place 4 goes back to place 0.
  settings = zoo.changed(SETTINGS["mistral"], {"layers": 2})
  model = zoo.build(settings)
  params = _random(model)
  states = _states(model, params)[1]
  other = PROMPT.replace(ids=PROMPT.ids.at[1, 0].set(1))
  changed = _states(model, params, other)[1]
  assert np.abs(states[0] - changed[0]).max() > 1e-3
  np.testing.assert_array_equal(states[1:], changed[1:])


def _drop(folder):
  tensors = load_file(folder / "model.safetensors")
  del tensors["model.layers.1.mlp.up_proj.weight"]
  save_file(tensors, folder / "model.safetensors")


def _add(folder):
  tensors = load_file(folder / "model.safetensors")
  tensors["model.layers.1.mlp.extra.weight"] = np.zeros(3, np.float32)
  save_file(tensors, folder / "model.safetensors")


def _reshape(folder):
  tensors = load_file(folder / "model.safetensors")
  tensors["model.layers.2.self_attn.k_proj.weight"] = np.zeros(
    (5, 16), np.float32
  )
  save_file(tensors, folder / "model.safetensors")


def _truncate(folder):
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-100])


def _only_pickle(folder):
  (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _configure(**fields):
  def change(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

  return change


def _unset(field):
  def change(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config[field]
    path.write_text(json.dumps(config))

  return change


def _garble(folder):
  (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
  "damage, message",
  [
    (_drop, "no tensor 'model.layers.1.mlp.up_proj.weight'.*needs"),
    (_add, "tensor 'model.layers.1.mlp.extra.weight'.*not part of llama"),
    (_reshape, r"'model.layers.2.self_attn.k_proj.weight' has shape \(5, 16\)"),
    (_truncate, "not a whole safetensors file.*fetch it again"),
    (_only_pickle, "only pytorch_model.bin, a pickle; save the model as"),
    (_configure(model_type="bloom"), "no model_type in .*'bloom'; available"),
    (_configure(hidden_act="mish"), "no activation 'mish'; available: gelu"),
    (_configure(num_key_value_heads=3), "kv_heads must divide heads"),
    (_unset("hidden_size"), "lacks the field 'hidden_size', which llama"),
    (
      _configure(rope_parameters={"rope_type": "yarn", "factor": 2.0}),
      "no rope_type 'yarn'; available: default, linear, llama3",
    ),
    (_garble, "cannot read .*config.json"),
    (shutil.rmtree, "config.json is missing; give a folder in the format"),
  ],
)
def test_a_bad_folder_is_one_error_that_names_the_fault(
  folder, damage, message
):
  damage(folder)
  with pytest.raises(errors.UserError, match=message):
    huggingface.load(folder)


def test_weights_are_not_overwritten(folder):
  model, params = huggingface.load(folder)
  with pytest.raises(errors.UserError, match="holds weights already"):
    huggingface.save(folder, model.settings, params)
