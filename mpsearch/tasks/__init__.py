"""Tasks: the loss, the metric and the divergence of a kind of problem."""
