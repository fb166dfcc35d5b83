"""The results of a run: `run.json`, JUnit properties, the HTML page and the summary.

May import lab.lease and below; not lab.gate.
"""
