"""Generative adversarial imitation (Ho and Ermon, 2016).

arXiv:1606.03476. The quickstart's SFT policy learns to pass as what people
wrote: a discriminator that learns beside it is the judge. The baseline of
Wulfmeier et al., 2024 (arXiv:2409.01369).

    python experiments/train.py --config=configs/gail.py \
        --workdir=runs/gail

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from ml_collections import config_dict

from configs import rloo


def get_config(size: str = ""):
  """The quickstart's SFT, then GAIL."""
  config = rloo.online(
    size,
    config_dict.create(name="gail", beta=0.05, imitation=0.1, pooling="mean"),
    samples=4,
  )
  config.sampling.judge = config_dict.create(name="none")
  return config
