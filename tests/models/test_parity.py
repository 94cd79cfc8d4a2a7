"""The model zoo against transformers, on random weights and shapes.

Needs torch and transformers: `make test-parity`.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alignment_jax.models import huggingface
from alignment_jax.types import Tokens

pytestmark = [
  pytest.mark.parity,
  # Of torch and transformers, about themselves.
  pytest.mark.filterwarnings("ignore"),
]
ROWS, PROMPT, RESPONSE = 3, 7, 9
WINDOW = 4
LLAMA_3 = {
  "rope_type": "llama3",
  "factor": 4.0,
  "low_freq_factor": 1.0,
  "high_freq_factor": 4.0,
  "original_max_position_embeddings": 16,
  "rope_theta": 500.0,
}


def _decoder(random):
  """Sizes of a decoder: odd vocabulary, any number of groups."""
  kv_heads = int(random.integers(1, 4))
  heads = kv_heads * int(random.integers(1, 4))
  return dict(
    vocab_size=int(random.integers(20, 40)) * 2 + 1,
    hidden_size=8 * heads,
    intermediate_size=int(random.integers(10, 70)),
    num_hidden_layers=int(random.integers(1, 5)),
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    max_position_embeddings=64,
    tie_word_embeddings=bool(random.integers(2)),
  )


def _headed(random):
  return _decoder(random) | {"head_dim": 2 * int(random.integers(2, 9))}


def _neox(random):
  sizes = _decoder(random)
  del sizes["num_key_value_heads"]
  return sizes | {
    "use_parallel_residual": bool(random.integers(2)),
    "rope_parameters": {
      "rope_theta": 1000.0,
      "partial_rotary_factor": 0.5,
      "rope_type": "default",
    },
  }


def _gpt2(random):
  heads = int(random.integers(1, 5))
  return dict(
    vocab_size=int(random.integers(20, 40)) * 2 + 1,
    n_embd=6 * heads,
    n_layer=int(random.integers(1, 5)),
    n_head=heads,
    n_positions=40,
  )


def _biased(random):
  biases = {"attention_bias": True, "mlp_bias": bool(random.integers(2))}
  return _headed(random) | biases


def _windowed(random):
  return _headed(random) | {"sliding_window": WINDOW}


def _gemma(random):
  return _headed(random) | {"tie_word_embeddings": True}


def _gemma2(random):
  return _gemma(random) | {
    "num_hidden_layers": int(random.integers(2, 8)),
    "sliding_window": WINDOW,
    "query_pre_attn_scalar": int(random.integers(5, 30)),
  }


def _capped(random):
  return _gemma2(random) | {
    "final_logit_softcapping": 5.0,
    "attn_logit_softcapping": 2.0,
  }


def _t5(random, **more):
  return dict(
    vocab_size=int(random.integers(20, 40)) * 2 + 1,
    d_model=8 * int(random.integers(2, 5)),
    d_kv=int(random.integers(3, 11)),
    d_ff=int(random.integers(10, 70)),
    num_layers=int(random.integers(1, 4)),
    num_decoder_layers=int(random.integers(1, 4)),
    num_heads=int(random.integers(1, 5)),
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    **more,
  )


def _gated(random):
  kind = ["gated-gelu", "gated-silu"][random.integers(2)]
  return _t5(random, feed_forward_proj=kind, tie_word_embeddings=False)


CASES = {
  "gpt2": ("GPT2Config", _gpt2),
  "gpt_neox": ("GPTNeoXConfig", _neox),
  "llama": ("LlamaConfig", _decoder),
  "llama_biased": ("LlamaConfig", _biased),
  "llama_3.1": (
    "LlamaConfig",
    lambda random: _headed(random) | {"rope_parameters": LLAMA_3},
  ),
  "mistral": ("MistralConfig", _windowed),
  "qwen2": ("Qwen2Config", _decoder),
  "qwen3": ("Qwen3Config", _headed),
  "gemma": ("GemmaConfig", _gemma),
  "gemma2": ("Gemma2Config", _capped),
  "gemma3": ("Gemma3TextConfig", _gemma2),
  "t5_1.0": ("T5Config", _t5),
  "t5_1.1": ("T5Config", _gated),
  "mt5": ("MT5Config", _t5),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
  """Two random models of an architecture, as transformers saves them."""
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  name, draw = CASES[request.param]
  found = []
  for seed in range(2):
    random = np.random.default_rng([seed, *request.param.encode()])
    torch.manual_seed(seed)
    config = getattr(transformers, name)(**draw(random))
    network = _auto(transformers, config).from_config(
      config, attn_implementation="eager"
    )
    network = network.eval().float()
    for parameter in network.parameters():
      # Biases and scales that start at 0 or 1 would hide a mistake.
      parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder, max_shard_size="30KB")
    prompt, response = _tokens(random, config.vocab_size)
    found.append((folder, prompt, response, _logits(network, prompt, response)))
  return found


def _auto(transformers, config):
  if config.is_encoder_decoder:
    return transformers.AutoModelForSeq2SeqLM
  return transformers.AutoModelForCausalLM


def _tokens(random, vocabulary):
  """Left-padded prompts of different lengths, and responses."""
  counts = random.integers(1, PROMPT + 1, (ROWS, 1))
  return Tokens(
    ids=jnp.asarray(random.integers(vocabulary, size=(ROWS, PROMPT))),
    mask=jnp.asarray(np.arange(PROMPT)[None] >= PROMPT - counts),
  ), Tokens(
    ids=jnp.asarray(random.integers(vocabulary, size=(ROWS, RESPONSE))),
    mask=jnp.ones((ROWS, RESPONSE), bool),
  )


def _logits(network, prompt, response):
  """What predicts each response token, by transformers."""
  import torch

  def tensor(array):
    return torch.tensor(np.array(array, np.int64))

  with torch.no_grad():
    if network.config.is_encoder_decoder:
      shifted = np.pad(np.asarray(response.ids)[:, :-1], [(0, 0), (1, 0)])
      return network(
        input_ids=tensor(prompt.ids),
        attention_mask=tensor(prompt.mask),
        decoder_input_ids=tensor(shifted),
      ).logits.numpy()
    ids = np.concatenate([prompt.ids, response.ids], axis=1)
    mask = np.concatenate([prompt.mask, response.mask], axis=1)
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    logits = network(
      input_ids=tensor(ids),
      attention_mask=tensor(mask),
      position_ids=tensor(positions),
    ).logits
  return logits[:, PROMPT - 1 : -1].numpy()


def _tensors(folder):
  found = {}
  for path in folder.glob("*.safetensors"):
    found |= load_file(path)
  return found


def test_logits_are_those_of_transformers(case):
  for folder, prompt, response, expected in case:
    model, params = huggingface.load(folder)
    actual = model.unembed(
      params, model.hidden(params, model.encode(params, prompt), response)
    )
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_out_again_is_byte_for_byte_what_came_in(case, tmp_path):
  for index, (folder, *_) in enumerate(case):
    model, params = huggingface.load(folder)
    out = tmp_path / str(index)
    huggingface.save(out, model.settings, params, max_shard_bytes=30_000)
    one, other = _tensors(folder), _tensors(out)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
      assert tensor.dtype == other[name].dtype
      assert tensor.tobytes() == other[name].tobytes(), name


def test_transformers_loads_what_is_written(case, tmp_path):
  import transformers

  for index, (folder, prompt, response, expected) in enumerate(case):
    model, params = huggingface.load(folder)
    out = tmp_path / str(index)
    huggingface.save(out, model.settings, params)
    config = transformers.AutoConfig.from_pretrained(out)
    network, info = _auto(transformers, config).from_pretrained(
      out, attn_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), info
    np.testing.assert_allclose(
      _logits(network.eval().float(), prompt, response), expected, atol=1e-6
    )
    assert dataclasses.asdict(huggingface.read_settings(out)) | {
      "tied": model.settings.tied
    } == dataclasses.asdict(model.settings)
