"""3. Shards -> batches of token ids and audio."""
