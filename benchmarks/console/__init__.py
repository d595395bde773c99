"""Pages of the console over houses of many sizes."""
