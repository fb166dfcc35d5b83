"""`lab bench`: measures the lab against the ways around it, side by side in one run, and holds ratios against budgets.

May import everything but lab.cli; used by lab.cli alone. Nothing here is part of a test run.
"""
