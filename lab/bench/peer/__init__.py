"""What runs in another Python, with the tools that the lab is compared with. Imports nothing of the lab."""
