"""Builds, checks and signs drivers and guest programs.

May import lab.vm and below; knows nothing of guests or images.
"""
