"""What a memory under a budget is worth: real conversations, generated lives, learning, and the cost of a turn."""
