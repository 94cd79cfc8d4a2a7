"""The study of all online configs: none is left out, its numbers are means."""

import re

from experiments.studies import online_configs as study

STUDIED = """reinforce rloo elastic_reset ppo grpo dr_grpo dapo gspo copg rcfd
best_of_n jbond warp nash_md nash_ema self_play best_response online_dpo
online_ipo ipo_md xpo sppo inpo soft_q_online gail srpo"""


def test_every_config_that_samples_is_there():
  names = study.studied()
  assert sorted(names) == sorted(STUDIED.split())
  # The same method stands beside itself, in the order of the methods.
  assert names.index("rloo") == names.index("elastic_reset") + 1


def test_a_row_has_the_means_of_both_ends_and_the_win_rate():
  rate = {"judge": "vader", "low": 0.5, "rate": 0.625, "high": 0.75}
  result = {
    "objective": "loss/likelihood",
    "falls": True,
    "values": [0.0, 1.0, *range(6), 4.0, 5.0],
    "win_rates": [{**rate, "judge": "other", "rate": 0.0}, rate],
    "numbers": {"KL to the policy before": 1.25, "length after": 20.0},
  }
  last = study.table({"gail": result}).splitlines()[-1]
  assert re.sub(" +", " ", last) == (
    "| `gail` | loss/likelihood (to fall) | 0.500 | 4.500 | 62 (50-75) | 1.2"
    " | 20.0 |"
  )
