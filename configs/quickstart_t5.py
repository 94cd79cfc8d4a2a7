"""The quickstart with an encoder-decoder: SFT, then IPO, on a small T5.

    python experiments/train.py --config=configs/quickstart_t5.py \
        --workdir=runs/quickstart_t5

Measured (seed 0): VADER win rate 59.1 % (95 % interval 55.7 to 62.6), responses
11.8 % longer, 3.8 nats from the SFT policy, whose perplexity is 141: after as
many steps it has learned less than the decoder, so tau is lower.

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart with another model."""
  config = base.offline(
    dict(name="ipo", tau=0.04, aggregation="sum"), learning_rate=1e-3, steps=300
  )
  config.model.name = "t5_mini"
  return base.sized(config, size)
