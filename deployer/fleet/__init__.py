"""The hosts of a command, driven together: the coordinator, a worker for each host, the hooks of a load balancer."""
