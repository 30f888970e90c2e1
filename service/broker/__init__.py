"""The queue: everything that is kept in Redis, behind the two sides that use it (`front`, `worker`) and `admin`."""
