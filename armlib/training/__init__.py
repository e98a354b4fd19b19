"""Training: the loop, its gradients over one or several processes, its trace and its checkpoints."""
