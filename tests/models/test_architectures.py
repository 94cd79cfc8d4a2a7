"""What holds in every architecture of the zoo, one tiny model of each.

`test_border.py` says the same of the two families at length, `test_parity.py`
compares with transformers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alignment_jax import parallel, scoring
from alignment_jax.models import base, huggingface, zoo
from alignment_jax.models.architectures import ARCHITECTURES
from alignment_jax.types import Tokens

# What runs once should rather compile fast.
QUICK = {"xla_backend_optimization_level": 0}
VOCABULARY, WINDOW = 32, 3
ROWS, PROMPT, RESPONSE = 4, 6, 5
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
_DECODER = {
  "vocab_size": VOCABULARY,
  "hidden_size": 32,
  "intermediate_size": 64,
  "num_hidden_layers": 2,
}
_GEMMA_2 = {
  **_DECODER,
  **_HEADS,
  "query_pre_attn_scalar": 16,
  "sliding_window": WINDOW,
}
_T5 = {
  "vocab_size": VOCABULARY,
  "d_model": 32,
  "d_kv": 8,
  "d_ff": 64,
  "num_layers": 2,
  "num_heads": 4,
  "relative_attention_num_buckets": 8,
  "relative_attention_max_distance": 12,
}
_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

# As config.json of the hub describes them.
CONFIGS = {
  "gpt2": {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 16,
  },
  "gpt_neox": {
    **_DECODER,
    "model_type": "gpt_neox",
    "num_attention_heads": 4,
  },
  "llama": {**_DECODER, **_HEADS, "model_type": "llama"},
  "mistral": {
    **_DECODER,
    **_HEADS,
    "model_type": "mistral",
    "sliding_window": WINDOW,
  },
  "qwen2": {**_DECODER, **_HEADS, "model_type": "qwen2"},
  "qwen3": {**_DECODER, **_HEADS, "model_type": "qwen3"},
  "gemma": {**_DECODER, **_HEADS, "model_type": "gemma"},
  "gemma2": {
    **_GEMMA_2,
    "model_type": "gemma2",
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
  },
  "gemma3": {
    **_GEMMA_2,
    "model_type": "gemma3_text",
    "sliding_window_pattern": 2,
    "rope_parameters": {
      "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
      "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
    },
  },
  "t5_1.0": {**_T5, "model_type": "t5"},
  "t5_1.1": {**_T5, **_GATED, "model_type": "t5"},
  "mt5": {**_T5, **_GATED, "model_type": "mt5"},
}

_random = np.random.default_rng(0)


def _tokens(length, mask):
  ids = _random.integers(VOCABULARY, size=(ROWS, length))
  return Tokens(ids=jnp.asarray(ids, jnp.int32), mask=jnp.asarray(mask))


PROMPTS = _tokens(
  PROMPT, np.arange(PROMPT) >= PROMPT - np.array([[6], [4], [3], [1]])
)
RESPONSE_LENGTHS = np.array([[5], [4], [2], [1]])
RESPONSES = _tokens(RESPONSE, np.arange(RESPONSE) < RESPONSE_LENGTHS)
REAL = np.asarray(RESPONSES.mask)
# Entry t has read the tokens before t.
READ = np.arange(RESPONSE) <= RESPONSE_LENGTHS


class World(NamedTuple):
  """A tiny model, its parameters, and what it says of the tokens above.

  Attributes:
    logits: [B, T, V].
    logprobs: [B, T], of the response's tokens.
  """

  settings: zoo.Settings
  model: base.Model
  params: Any
  logits: np.ndarray
  logprobs: np.ndarray


def _forward(model) -> Callable:
  def forward(params, prompts, responses):
    context = model.encode(params, prompts)
    logits = model.unembed(params, model.hidden(params, context, responses))
    several = jax.tree.map(lambda array: array[:, None], responses)
    logprobs = scoring.token_logprobs(model, params, prompts, several)
    return logits, logprobs[:, 0]

  return forward


def _compiled(function, **options):
  return jax.jit(function, compiler_options=QUICK, **options)


@pytest.fixture(scope="module", params=CONFIGS)
def world(request):
  settings = huggingface.settings_of(CONFIGS[request.param], Path("-"), {})
  model = zoo.build(settings)
  own = np.random.default_rng(list(request.param.encode()))
  params = jax.tree.map(
    # Biases and scales that start at 0 or 1 would hide a mistake.
    lambda leaf: (
      leaf + jnp.asarray(0.02 * own.normal(size=leaf.shape), jnp.float32)
    ),
    _compiled(model.init)(jax.random.key(0)),
  )
  logits, logprobs = _compiled(_forward(model))(params, PROMPTS, RESPONSES)
  return World(
    settings, model, params, np.asarray(logits), np.asarray(logprobs)
  )


def test_there_is_a_case_for_every_architecture():
  kinds = {config["model_type"] for config in CONFIGS.values()}
  assert kinds == set(ARCHITECTURES)


def test_step_by_step_behind_more_padding_gives_the_same_logits(world):
  model = world.model

  def steps(params, prompts, responses):
    context = model.encode(params, prompts)

    def step(cache, ids):
      state, cache = model.step(params, cache, ids)
      return cache, model.unembed(params, state)

    # More room than tokens: free slots must not be seen.
    cache = model.init_cache(context, RESPONSE + 1)
    _, rest = jax.lax.scan(step, cache, responses.ids[:, :-1].T)
    first = model.unembed(params, context.last)[:, None]
    return jnp.concatenate([first, jnp.moveaxis(rest, 0, 1)], axis=1)

  padded = Tokens(
    ids=jnp.pad(PROMPTS.ids, [(0, 0), (3, 0)], constant_values=5),
    mask=jnp.pad(PROMPTS.mask, [(0, 0), (3, 0)]),
  )
  actual = np.asarray(_compiled(steps)(world.params, padded, RESPONSES))
  np.testing.assert_allclose(actual[READ], world.logits[READ], atol=1e-5)


def test_a_mesh_changes_no_logit(world):
  mesh = parallel.make_mesh(data=1, fsdp=4, tensor=2)
  placed = parallel.shardings(mesh, world.params, world.model.axes)
  params = jax.device_put(world.params, placed)
  assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(params))
  logits, _ = _compiled(_forward(world.model))(
    params,
    parallel.put_batch(mesh, PROMPTS),
    parallel.put_batch(mesh, RESPONSES),
  )
  np.testing.assert_allclose(
    np.asarray(logits)[READ], world.logits[READ], atol=1e-4
  )


def test_bfloat16_log_probabilities_stay_near_float32(world):
  # Maps of a third of unit gain, still about three times what checkpoints
  # start from at such widths. At unit gain to round the weights alone, with
  # all else in float32, moves single tokens by more than 0.02 nats.
  params = jax.tree_util.tree_map_with_path(
    lambda path, leaf: (
      leaf / 3 if base.leaf_name(path).endswith("kernel") else leaf
    ),
    world.params,
  )
  _, whole = _compiled(_forward(world.model))(params, PROMPTS, RESPONSES)
  half = zoo.build(zoo.changed(world.settings, {"dtype": "bfloat16"}))
  _, logprobs = _compiled(_forward(half))(params, PROMPTS, RESPONSES)
  assert logprobs.dtype == jnp.float32
  difference = np.asarray(logprobs - whole)[REAL]
  assert np.max(np.abs(difference)) < 2e-2  # nats
  assert np.any(difference)
