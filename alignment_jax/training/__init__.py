"""The training loop: knows `Algorithm`, names none."""
