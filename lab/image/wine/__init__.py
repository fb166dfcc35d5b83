"""The free guest, Wine on Debian: its recipe, and what the image contains.

May import what lab.image may.
"""

#: Of the kind, of its recipe, and of its image.
NAME = "wine"
