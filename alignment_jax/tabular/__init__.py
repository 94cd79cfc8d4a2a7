"""Small worlds whose answers are exact, and solvers for them.

Bandits, preference games and autoregressive tables. Leading axes are
independent worlds; all functions are pure and may be jitted, except
`linear_program_nash`, which is SciPy's. Nothing here knows a neural network.
"""

from alignment_jax.tabular.autoregressive import SequenceTree as SequenceTree
from alignment_jax.tabular.autoregressive import conditionals as conditionals
from alignment_jax.tabular.autoregressive import sequence_kl as sequence_kl
from alignment_jax.tabular.autoregressive import (
  sequence_logprobs as sequence_logprobs,
)
from alignment_jax.tabular.autoregressive import (
  sequence_objective as sequence_objective,
)
from alignment_jax.tabular.autoregressive import (
  sequence_optimum as sequence_optimum,
)
from alignment_jax.tabular.autoregressive import (
  sequence_policy_gradient as sequence_policy_gradient,
)
from alignment_jax.tabular.autoregressive import sequence_tree as sequence_tree
from alignment_jax.tabular.autoregressive import soft_values as soft_values
from alignment_jax.tabular.autoregressive import (
  token_logprobs as token_logprobs,
)
from alignment_jax.tabular.autoregressive import token_values as token_values
from alignment_jax.tabular.bandits import bradley_terry as bradley_terry
from alignment_jax.tabular.bandits import bradley_terry_fit as bradley_terry_fit
from alignment_jax.tabular.bandits import dpo_optimum as dpo_optimum
from alignment_jax.tabular.bandits import expected as expected
from alignment_jax.tabular.bandits import kl as kl
from alignment_jax.tabular.bandits import policy_gradient as policy_gradient
from alignment_jax.tabular.bandits import psipo_optimum as psipo_optimum
from alignment_jax.tabular.bandits import (
  regularized_objective as regularized_objective,
)
from alignment_jax.tabular.bandits import regularized_value as regularized_value
from alignment_jax.tabular.bandits import tilted as tilted
from alignment_jax.tabular.bond import best_of_n as best_of_n
from alignment_jax.tabular.bond import bond_rewards as bond_rewards
from alignment_jax.tabular.contextual import (
  ContextualBandit as ContextualBandit,
)
from alignment_jax.tabular.contextual import (
  contextual_bandit as contextual_bandit,
)
from alignment_jax.tabular.contextual import (
  contextual_log_policy as contextual_log_policy,
)
from alignment_jax.tabular.contextual import gold_win_rate as gold_win_rate
from alignment_jax.tabular.contextual import reference_kl as reference_kl
from alignment_jax.tabular.contextual import (
  sample_responses as sample_responses,
)
from alignment_jax.tabular.games import advantages as advantages
from alignment_jax.tabular.games import best_response as best_response
from alignment_jax.tabular.games import cyclic_game as cyclic_game
from alignment_jax.tabular.games import dice_example as dice_example
from alignment_jax.tabular.games import dice_game as dice_game
from alignment_jax.tabular.games import duality_gap as duality_gap
from alignment_jax.tabular.games import elo_example as elo_example
from alignment_jax.tabular.games import exploitability as exploitability
from alignment_jax.tabular.games import random_game as random_game
from alignment_jax.tabular.games import (
  regularized_best_response as regularized_best_response,
)
from alignment_jax.tabular.games import (
  regularized_duality_gap as regularized_duality_gap,
)
from alignment_jax.tabular.games import (
  regularized_exploitability as regularized_exploitability,
)
from alignment_jax.tabular.games import (
  regularized_preference as regularized_preference,
)
from alignment_jax.tabular.games import three_raters as three_raters
from alignment_jax.tabular.games import tied_policies as tied_policies
from alignment_jax.tabular.games import win_rate as win_rate
from alignment_jax.tabular.games import win_rates as win_rates
from alignment_jax.tabular.iteration import Iterate as Iterate
from alignment_jax.tabular.iteration import Solution as Solution
from alignment_jax.tabular.iteration import iterate as iterate
from alignment_jax.tabular.linear_program import (
  LinearProgramNash as LinearProgramNash,
)
from alignment_jax.tabular.linear_program import (
  linear_program_nash as linear_program_nash,
)
from alignment_jax.tabular.nash import geometric_mixture as geometric_mixture
from alignment_jax.tabular.nash import inpo_step as inpo_step
from alignment_jax.tabular.nash import (
  mirror_descent_step as mirror_descent_step,
)
from alignment_jax.tabular.nash import mirror_prox_step as mirror_prox_step
from alignment_jax.tabular.nash import nash_md_step as nash_md_step
from alignment_jax.tabular.nash import regularized_nash as regularized_nash
from alignment_jax.tabular.nash import solve_inpo as solve_inpo
from alignment_jax.tabular.nash import (
  solve_mirror_descent as solve_mirror_descent,
)
from alignment_jax.tabular.nash import solve_mirror_prox as solve_mirror_prox
from alignment_jax.tabular.nash import solve_nash_md as solve_nash_md
from alignment_jax.tabular.no_regret import (
  regret_matching_policy as regret_matching_policy,
)
from alignment_jax.tabular.no_regret import (
  regret_matching_step as regret_matching_step,
)
from alignment_jax.tabular.no_regret import (
  solve_regret_matching as solve_regret_matching,
)
from alignment_jax.tabular.no_regret import solve_sppo as solve_sppo
from alignment_jax.tabular.no_regret import sppo_step as sppo_step
from alignment_jax.tabular.revision import srpo_generator as srpo_generator
from alignment_jax.tabular.revision import srpo_reviser as srpo_reviser
from alignment_jax.tabular.self_play import EmaState as EmaState
from alignment_jax.tabular.self_play import nash_ema_step as nash_ema_step
from alignment_jax.tabular.self_play import nash_md_pg_step as nash_md_pg_step
from alignment_jax.tabular.self_play import (
  self_play_gradient as self_play_gradient,
)
from alignment_jax.tabular.self_play import solve_nash_ema as solve_nash_ema
from alignment_jax.tabular.self_play import solve_nash_md_pg as solve_nash_md_pg
from alignment_jax.tabular.self_play import solve_self_play as solve_self_play
