"""Scale measured: what it costs and brings that parts of the house are in other processes."""
