"""Windows images: recipe, inspection of the ISO, answer file, payload, and Setup in a VM.

May import what lab.image may.
"""
