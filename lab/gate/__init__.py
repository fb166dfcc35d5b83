"""Verdicts, known issues and exit codes.

May import lab.lease and below; not lab.report.
"""
