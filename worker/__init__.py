"""A worker: owns one partition of the keys and the connections it was given."""
