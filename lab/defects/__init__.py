"""Named faults of the two example drivers: each is built and run, to prove that the suites notice it."""
