"""Evidence of driver faults, bugchecks and hangs: what the codes mean, and how dumps are taken and read.

May import lab.guest, lab.vm and below; not lab.prints.
"""
