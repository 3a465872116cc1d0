"""Lines for logs, pipes and machines: one for each thing that happens, without colours and without a cursor."""
