"""Real data: files of the official distributions, splits, preprocessing."""
