"""What two processes, or a process and its files, must agree on. Pure: no socket, file or clock."""
