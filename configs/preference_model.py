"""A preference model as the judge (Munos et al., 2023, arXiv:2312.00886).

The quickstart's SFT policy; then a network that reads two texts and predicts
which of them people rate higher; then Nash-MD against a mixture of the policy
and its start, judged by that network. `tau` and `beta` are the paper's.

    python experiments/train.py --config=configs/preference_model.py \
        --workdir=runs/preference_model

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, a preference model, then Nash-MD."""
  config = base.online(
    dict(name="nash_md", tau=0.008, beta=0.125),
    samples=1,
    judge=dict(name="preference_model"),
    learning_rate=3e-4,
    steps=150,
  )
  config.preference_model = base.stage(
    dict(
      name="preference_model",
      template=("\nFirst: ", "\nSecond: ", "\nBetter: "),
    ),
    learning_rate=1e-3,
    steps=8 if size == "tiny" else 400,
    batch_size=8 if size == "tiny" else 32,
    warmup=2 if size == "tiny" else 20,
  )
  return base.sized(config, size)
