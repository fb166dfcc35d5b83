"""Host side of the kernel debugger's serial protocol: prints, loads, stops and bugchecks of a Windows guest.

May import lab.guest, lab.vm and below.
"""
