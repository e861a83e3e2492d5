"""Training: loops, optimisers, schedules, losses, checkpoints."""
