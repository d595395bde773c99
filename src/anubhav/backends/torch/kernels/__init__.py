"""Optional native kernels in C, and what compiles, finds and calls them."""
