"""Decides verdicts, applies known issues, and decides the exit code.

May import lab.lease and below; not lab.report.
"""
