"""The quickstart with an encoder-decoder: SFT, then IPO, on a small T5.

    python experiments/train.py --config=configs/quickstart_t5.py \
        --workdir=runs/quickstart_t5

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import quickstart


def get_config(size: str = ""):
  """The quickstart with another model."""
  config = quickstart.get_config(size)
  config.model.name = "t5_tiny" if size == "tiny" else "t5_mini"
  return config
