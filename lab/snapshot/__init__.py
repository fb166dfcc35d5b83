"""Guests made from a snapshot: templates are made, stored and found by key, and forks of them are resumed.

Imports lab.live and what that may import.
"""
