"""GRPO on groups of eight responses (Shao et al., 2024, arXiv:2402.03300).

Rewards by VADER's rules are centered and scaled within the responses to a
prompt; beta is the paper's.

    python experiments/train.py --config=configs/grpo.py \
        --workdir=runs/grpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then GRPO."""
  config = base.online(
    dict(name="grpo", clip=0.2, beta=0.04, aggregation="grpo"),
    samples=8,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
