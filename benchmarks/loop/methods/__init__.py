"""The methods our loop is compared with: each learns at night from the same records, through the stock Tinker SDK."""
