"""Word error rates on any corpus whose clips say what is spoken."""
