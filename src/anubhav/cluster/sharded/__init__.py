"""The Trainer port over a gang of processes that hold one frozen base between them.

transformers shards the base (tensor, FSDP2 and expert parallelism), torch pipelines it, Ulysses splits sequences; the
adapters are ours, put on after sharding, so that many stand on one base. docs/sharding.md has the layouts.
"""
