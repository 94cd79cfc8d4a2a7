"""Functions from an `Algorithm` to an `Algorithm`, as optax chains updates."""
