"""Host side of the print relay, the driver that writes kernel prints to QEMU's debug console.

May import lab.guest, lab.vm and below.
"""
