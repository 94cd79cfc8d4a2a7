"""Iterative Nash policy optimization (Zhang et al., 2024).

arXiv:2407.00617. Mirror descent by regression on the best and the worst of
eight responses, sampled from the policy before each iteration. `eta` and `tau`
have the paper's proportion; both are larger, since the responses are short.

    python experiments/train.py --config=configs/inpo.py \
        --workdir=runs/inpo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then INPO."""
  config = base.online(
    dict(
      name="inpo",
      eta=0.3,
      tau=0.1,
      choice="best_and_worst",
      refresh_every=50,
    ),
    samples=8,
    judge=dict(name="vader"),
    learning_rate=3e-4,
    steps=150,
  )
  return base.sized(config, size)
