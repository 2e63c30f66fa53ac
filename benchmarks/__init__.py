"""What the project's figures come from: studies of quality, targeting, speed, scale and nights. Not installed."""
