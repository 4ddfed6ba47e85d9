"""Language models on this machine: weights, adapters, log-probs, batching, memory."""
