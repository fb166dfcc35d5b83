"""run.json, JUnit properties and the HTML page.

May import lab.lease and below; not lab.gate.
"""
