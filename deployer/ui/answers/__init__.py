"""Answers on standard output: one module for each command that asks something. Each shows N >= 1 hosts."""
