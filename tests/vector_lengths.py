"""The lengths at which every path that carries vectors is tried: both sides of what lists of categories are cut at."""

LENGTHS = (1, 32, 33, 64, 384, 1024)
