"""The learning loop measured: simulated people with hidden tastes, known truth, and a server that learns from them."""
