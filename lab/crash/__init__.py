"""Driver faults, bugchecks and hangs as evidence.

May import lab.guest, lab.vm and below; not lab.prints.
"""
