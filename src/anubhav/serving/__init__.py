"""The serving room: names become voices (an adapter, fixed for one reply), voices become streams of tokens and text."""
