"""Benchmarks: they print what things cost and assert nothing about time. Run ``python -m tests.bench``."""
