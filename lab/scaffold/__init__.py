"""`lab init`: looks at a user's repository and composes the first files of a driver test.

May import the toolchain and what lies below it; only the command line imports it.
"""
