"""The memory room: Memory Diffusion, what a conversation keeps of itself under a fixed budget of tokens."""
