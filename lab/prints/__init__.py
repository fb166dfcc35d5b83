"""Kernel prints: sources, records, their assignment to tests, and `expect()`.

May import lab.guest, lab.vm and below.
"""
