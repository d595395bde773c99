"""The real architecture, on no device: instantiated, sharded and stepped through with tensors that have only a shape.

All of it runs in a process of its own (`process`): a process group, fake as it is, belongs to a whole process, and so
do the environment it is read from and what is registered with transformers.
"""
