"""The process that limpid runs in: device, precision, threads, memory, random numbers, other processes, terminal."""
