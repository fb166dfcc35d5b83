"""Recipes into bootable images with a manifest, kept in the cache folder.

May import lab.toolchain, lab.vm, lab.host; not lab.guest.
"""
