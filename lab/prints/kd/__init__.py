"""Host side of the kernel-debugger serial protocol: prints, loads, stops and bugchecks from COM1 of a Windows guest.

May import lab.guest, lab.vm and below.
"""
