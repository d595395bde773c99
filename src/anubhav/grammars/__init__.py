"""Grammars: what texts a sample may be, held token by token. Below flows and backends, as both ask."""
