"""3. Shards -> batches."""
