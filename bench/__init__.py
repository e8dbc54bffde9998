"""Benchmarks: ratios of figures taken in one run, never a test."""
