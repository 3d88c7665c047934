"""Speed, measured and printed side by side; nothing here asserts a time."""
