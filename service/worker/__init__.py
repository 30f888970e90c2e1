"""The worker process: the engine between the queue and a device."""
