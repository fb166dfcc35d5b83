"""What the host uses of a running guest: transports, files, services, capabilities, readiness.

May import lab.vm and below; not lab.image.
"""
