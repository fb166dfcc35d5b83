"""Line coverage of drivers: counters read from a guest, added up by test, and turned into lines and reports.

May import lab.guest, lab.toolchain and below.
"""
