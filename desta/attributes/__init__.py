"""What is heard in a recording beside what its corpus says: measured, or said by a classifier."""
