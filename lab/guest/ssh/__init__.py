"""The transport over SSH and SFTP, by paramiko.

Imports only lab.guest and what that may import.
"""
