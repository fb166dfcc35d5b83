"""Decides verdicts, applies known issues, and decides the exit code.

May import lab.lease and below. Must not import reports, pytest or the command line.
"""
