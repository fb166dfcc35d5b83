"""Host side of the tap, the driver that hands kernel prints to QEMU's debug console (``driver/tap``).

May import lab.guest, lab.vm and below.
"""
