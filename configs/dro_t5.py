"""DRO from single rated responses (Richemond et al., 2024, arXiv:2405.19107).

A small T5, as in the paper: each text has one prompt, one response and the mean
of its ratings; no pairs are needed. The paper fine-tunes 770M parameters with
AdaFactor at a constant 1e-4 and tau = 1. At this size that drifts 36 nats and
wins 46 % of the prompts, so this is AdamW with a cosine and tau = 0.2, which
drifts 3.5 nats and wins 64 % (95 % interval 61 to 68) against its SFT policy.

    python experiments/train.py --config=configs/dro_t5.py --workdir=runs/dro_t5

Hardware: two CPU cores. `:tiny` runs every part in about a minute.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The T5 quickstart with another kind of feedback."""
  config = base.offline(
    dict(name="dro", tau=0.2, aggregation="sum"),
    learning_rate=1e-3,
    steps=500,
    warmup=30,
  )
  config.model.name = "t5_mini"
  return base.sized(config, size)
