"""Print sources, records, and the per-test stream with expect().

May import lab.guest, lab.vm and below.
"""
