"""GSPO: one ratio for each response (Zheng et al., 2025, arXiv:2507.18071).

VADER's rules reward the responses; four minibatches learn from each batch, as
in the paper, so that there is something to clip.

    python experiments/train.py --config=configs/gspo.py \
        --workdir=runs/gspo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then GSPO."""
  config = base.online(
    dict(name="gspo", clip_low=3e-4, clip_high=4e-4),
    samples=8,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  config.training.minibatches = 4
  return base.sized(config, size)
