"""Builds images from recipes and keeps them in the cache folder; makes ISOs for a guest's CD drive.

May import lab.toolchain, lab.vm, lab.host; not lab.guest.
"""
