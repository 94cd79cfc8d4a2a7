"""Losses of the field as pure functions: arrays in, one number per unit out.

Nothing is reduced, logged or configured here. Log-probabilities of responses
are summed over their tokens unless a docstring says otherwise.
"""

from alignment_jax.losses.bradley_terry import (
  bradley_terry_loss as bradley_terry_loss,
)
from alignment_jax.losses.cross_entropy import (
  cross_entropy_loss as cross_entropy_loss,
)
from alignment_jax.losses.dpo import dpo_loss as dpo_loss
from alignment_jax.losses.dro import dro_policy_loss as dro_policy_loss
from alignment_jax.losses.dro import dro_value_loss as dro_value_loss
from alignment_jax.losses.ipo import ipo_loss as ipo_loss
