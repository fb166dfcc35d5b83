"""One virtual machine: argument list from a spec, process and its keeper, QMP, disks, serial logs.

May import lab.host; nothing above.
"""
