"""`lab bench`: measures the lab beside its alternatives in one run, and compares ratios with budgets.

May import everything but lab.cli; used by lab.cli alone. Nothing here is part of a test run.
"""
