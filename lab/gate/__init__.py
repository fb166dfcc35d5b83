"""Verdicts, known issues and exit codes.

May import lab.pool and below; not lab.report.
"""
