"""What the methods of one family share; `algorithms` holds the methods."""
