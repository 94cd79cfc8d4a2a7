"""KTO from single rated responses (Ethayarajh et al., 2024, arXiv:2402.01306).

The quickstart's SFT policy learns from texts that are rated better or worse
than the mean; no pairs are needed.

    python experiments/train.py --config=configs/kto.py --workdir=runs/kto

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart with another kind of feedback."""
  config = base.offline(
    dict(name="kto", beta=0.1, lambda_desirable=1.0, lambda_undesirable=1.0),
    learning_rate=1e-3,
    steps=300,
  )
  return base.sized(config, size)
