"""The connector between encoder and backbone."""
