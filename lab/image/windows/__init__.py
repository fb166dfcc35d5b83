"""Windows images: recipe, ISO inspection, answer file, payload, and the driver of Setup in a virtual machine.

May import what lab.image may.
"""
