"""Scripts that run in another Python, with the tools that the lab is compared with; they import nothing from the lab."""
