"""The ports over Ray actors: an engine in another process or on another machine, named and used like one at home."""
