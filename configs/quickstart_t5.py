"""The quickstart with an encoder-decoder: SFT, then IPO, on a small T5.

    python experiments/train.py --config=configs/quickstart_t5.py \
        --workdir=runs/quickstart_t5

Measured (seed 0): VADER win rate 59.1 % (95 % interval 55.7 to 62.6), answers
11.8 % longer, 3.8 nats from the SFT policy, whose perplexity is 141: at equal
steps it has learnt less than the decoder, so tau is lower.

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import quickstart


def get_config(size: str = ""):
  """The quickstart with another model."""
  config = quickstart.get_config(size)
  config.model.name = "t5_tiny" if size == "tiny" else "t5_mini"
  config.algorithm.tau = 0.04
  return config
