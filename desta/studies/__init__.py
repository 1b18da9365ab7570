"""8. Studies: families of runs that differ in one thing, from one base recipe."""
