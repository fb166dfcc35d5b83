"""Driver Verifier in a Windows guest: the command lines of each Windows, and what its answers mean.

All of it is built to Microsoft's documents; docs/windows.md lists what waits for a proof.
"""
