"""The results of a run: `run.json`, JUnit properties, the HTML page and the summary.

May import lab.gate and below: it reports verdicts, and decides none.
"""
