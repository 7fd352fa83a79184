"""The report of a training run, from its folder and what `train.inspect` found in it."""
