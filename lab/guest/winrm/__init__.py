"""The transport over WinRM, by pywinrm.

Imports only lab.guest and what that may import.
"""
