"""IPO on real human preferences, from nothing, on a laptop.

Azar et al., 2023 (arXiv:2310.12036): a small decoder learns from 23,000
human-rated texts to continue them (SFT), then to write what people rate higher
(IPO). A reward model and VADER's rules judge the result.

    python experiments/train.py --config=configs/quickstart.py \
        --workdir=runs/quickstart

Hardware: two CPU cores. `--config=configs/quickstart.py:tiny` runs every part
with a toy model in about a minute and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The whole experiment; `size` is empty or `tiny`."""
  config = base.offline(
    dict(name="ipo", tau=0.058, aggregation="sum"),
    learning_rate=1e-3,
    steps=300,
  )
  return base.sized(config, size)
