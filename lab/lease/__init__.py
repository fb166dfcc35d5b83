"""Who gets a guest, and when: the pool of one worker, slots and the lock of the host, and detached guests.

Imports lab.snapshot, lab.live and what these may import.
"""
