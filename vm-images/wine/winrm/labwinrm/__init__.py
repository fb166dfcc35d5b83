"""WinRM for the free guest: a WS-Management shell endpoint whose commands run under Wine.

Stands alone: the standard library and pyspnego are all it imports, and nothing of it may import the host side.
"""
