"""2. Metadata -> seed description -> prompt -> response -> shards."""
