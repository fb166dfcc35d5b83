"""One VM: argument list, process and its supervisor, QMP, disks, serial logs, snapshots.

May import lab.host; nothing above.
"""
