"""DAPO (Yu et al., 2025, arXiv:2503.14476).

GRPO with a clip that lets ratios rise further than fall, one mean over all
tokens, other prompts in place of groups with equal rewards, and a penalty on
responses near the length limit. VADER's rules reward the responses.

    python experiments/train.py --config=configs/dapo.py \
        --workdir=runs/dapo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then DAPO."""
  config = base.online(
    dict(
      name="dapo",
      clip_low=0.2,
      clip_high=0.28,
      overlong="soft",
      overlong_cache=4,
      rounds=2,
    ),
    samples=8,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
