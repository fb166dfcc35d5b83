"""Compares recorded runs: tests, their prints, their durations; and keeps baselines to compare with.

May import lab.report and below. pytest and the command line are unknown here.
"""
