"""PPO with a learned reward, as in the N+ paper (Huang et al., 2024).

arXiv:2403.17031; docs/ppo_details.md has its 25 details. The quickstart's SFT
policy responds, its reward model rewards the responses, and a critic is learned
beside the policy; VADER's rules judge the result. The coefficients are the
paper's. `--config.algorithm.kl_target=6.0` adapts beta (Ziegler et al., 2019).

    python experiments/train.py --config=configs/ppo.py \
        --workdir=runs/ppo

Hardware: two CPU cores; the settings were not tuned. `:tiny` runs every part
with a toy model and learns nothing.
"""

from configs import base


def get_config(size: str = "") -> base.ConfigDict:
  """The quickstart's SFT, then its reward model, then PPO."""
  config = base.online(
    dict(
      name="ppo",
      beta=0.05,
      clip=0.2,
      value_clip=0.2,
      value_coefficient=0.1,
      gamma=1.0,
      lambda_=0.95,
      missing_eos_reward=-1.0,
      whiten_rewards=False,
      whiten_advantages=True,
      kl_target=None,
      kl_gain=0.1,
    ),
    samples=1,
    judge=dict(name="reward_model"),
    learning_rate=3e-4,
    steps=150,
  )
  # The critic reads states token by token, as this reward model does. It learns
  # nothing at the quickstart's rate, which suits a mean of states.
  config.reward_model = base.reward_model(pooling="last", learning_rate=1e-3)
  config.sampling.temperature = 0.7
  config.training.epochs = 4
  return base.sized(config, size)
