"""The parts of `benchmarks/targeting.py`: data sets, matching, tested rules, judging, statistics, speed, tables."""
