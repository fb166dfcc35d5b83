"""One live guest: its VM booted, files delivered, drivers deployed, prints wired up, and watched for a crash.

Imports lab.prints, lab.crash, lab.guest, lab.image and what these may import.
"""
