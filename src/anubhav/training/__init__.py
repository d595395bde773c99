"""The training room: the desk takes operations, the line of each run applies them in order, promises keep results."""
