"""The host side of the data: sources, tokenizer, formatting, batches."""

from alignment_jax.data.hub_files import open_tokenizer as open_tokenizer
from alignment_jax.data.hub_files import (
  tokenizer_from_gguf as tokenizer_from_gguf,
)
from alignment_jax.data.hub_tokenizer import HubTokenizer as HubTokenizer
from alignment_jax.data.hub_tokenizer import load_tokenizer as load_tokenizer
from alignment_jax.data.loader import Loader as Loader
from alignment_jax.data.rows import MissingColumns as MissingColumns
from alignment_jax.data.sources import confident as confident
from alignment_jax.data.sources import open_source as open_source
from alignment_jax.data.tokenizers import (
  SentencePieceTokenizer as SentencePieceTokenizer,
)
from alignment_jax.data.tokenizers import (
  tokenizer_fingerprint as tokenizer_fingerprint,
)
