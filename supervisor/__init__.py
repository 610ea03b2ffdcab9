"""The supervisor: owns the listening sockets and the processes, and no key."""
