"""The host side of the data: sources, tokenizers, formatting, batches.

What prepares and describes data imports no JAX, and starts in a fraction of a
second; `Loader` does, for its batches are of `types`, and so comes when it is
first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from alignment_jax.data.hub_files import open_tokenizer, tokenizer_from_gguf
from alignment_jax.data.hub_tokenizer import HubTokenizer, load_tokenizer
from alignment_jax.data.rows import MissingColumns
from alignment_jax.data.sources import Source, confident, open_source
from alignment_jax.data.tokenizers import (
  SentencePieceTokenizer,
  Tokenizer,
  tokenizer_fingerprint,
)

if TYPE_CHECKING:
  from alignment_jax.data.loader import Loader

__all__ = [
  "HubTokenizer",
  "Loader",
  "MissingColumns",
  "SentencePieceTokenizer",
  "Source",
  "Tokenizer",
  "confident",
  "load_tokenizer",
  "open_source",
  "open_tokenizer",
  "tokenizer_fingerprint",
  "tokenizer_from_gguf",
]


def __getattr__(name: str) -> Any:
  if name != "Loader":
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
  return importlib.import_module("alignment_jax.data.loader").Loader
