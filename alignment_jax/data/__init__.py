"""The host side of the data: sources, tokenizer, formatting, batches."""

from alignment_jax.data.loader import Loader as Loader
from alignment_jax.data.sources import open_source as open_source
from alignment_jax.data.tokenizers import (
  SentencePieceTokenizer as SentencePieceTokenizer,
)
