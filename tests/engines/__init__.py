"""Beam engines of their own processes: a job server with pools of SDK workers, and clusters of Flink and Spark."""
