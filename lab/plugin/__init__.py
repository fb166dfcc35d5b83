"""The pytest plugin: options, hooks and fixtures.

May import everything but lab.cli.
"""
