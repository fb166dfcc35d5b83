"""run.json, JUnit properties and the HTML page.

May import lab.pool and below; not lab.gate.
"""
