"""Puts image, virtual machine, transport and print source together into a live guest; hands guests out and replaces them.

May import everything below; used by lab.plugin and lab.cli.
"""
