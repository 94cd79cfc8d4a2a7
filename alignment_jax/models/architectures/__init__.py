"""Architectures of the Hugging Face hub, by the `model_type` of config.json."""

from alignment_jax.models.architectures import gpt, llama, t5
from alignment_jax.models.architectures.base import Architecture, Tensor

__all__ = ["ARCHITECTURES", "Architecture", "Tensor"]

ARCHITECTURES: dict[str, Architecture] = {
  architecture.model_type: architecture
  for architecture in (
    gpt.GPT2,
    gpt.NEOX,
    llama.LLAMA,
    llama.MISTRAL,
    llama.QWEN2,
    llama.QWEN3,
    llama.GEMMA,
    llama.GEMMA2,
    llama.GEMMA3,
    t5.T5,
    t5.MT5,
  )
}
