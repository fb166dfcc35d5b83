"""Finds the commit, or the build, that brought a failure: `git bisect` underneath, runs in fresh forks, answers with figures.

May import lab.report and below. pytest and the command line are unknown here.
"""
