"""Recipes into bootable images with a manifest, kept in the cache folder; ISOs of files for a guest's CD drive.

May import lab.toolchain, lab.vm, lab.host; not lab.guest.
"""
