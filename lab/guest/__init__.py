"""A running guest seen from outside: transports, files, services, capabilities, readiness.

May import lab.vm and below; not lab.image.
"""
