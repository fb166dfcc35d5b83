"""The machine we run on: accelerator probe, tools and their versions, folders and subprocesses.

Imports only lab.errors and lab.config.
"""
