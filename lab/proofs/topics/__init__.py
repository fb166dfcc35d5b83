"""The statements, a module for each subject; each has a tuple ``STATEMENTS``, and the catalogue lists the modules."""
