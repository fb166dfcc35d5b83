"""What `lab init` does: look at somebody's repository, and compose the first files of a driver test for it.

May import the toolchain and what lies below it; only the command line imports it.
"""
