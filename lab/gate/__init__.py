"""Decides verdicts, applies known issues, and decides the exit code.

May import lab.lease and below. Reports, pytest and the command line are unknown here.
"""
