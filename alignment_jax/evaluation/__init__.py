"""How a trained policy is measured, and the page that says so."""
