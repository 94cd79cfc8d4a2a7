"""Generative adversarial imitation (Ho and Ermon, 2016).

arXiv:1606.03476. The quickstart's SFT policy learns to be taken for the
demonstrations: a discriminator that learns beside it is the judge. The baseline
of Wulfmeier et al., 2024 (arXiv:2409.01369).

    python experiments/train.py --config=configs/gail.py \
        --workdir=runs/gail

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then GAIL."""
  config = base.online(
    dict(name="gail", beta=0.05, imitation=0.1, pooling="mean"),
    samples=4,
    judge=dict(name="none"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
