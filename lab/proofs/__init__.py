"""What only a real Windows can show: each statement that the lab relies on, how it is proved, and records of proofs."""
