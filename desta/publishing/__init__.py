"""What is done with a finished data set: verified, described, looked at, exported."""
