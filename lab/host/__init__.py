"""The host: accelerator probe, tools and their versions, folders, locks and subprocesses.

Imports only lab.errors.
"""
