"""The stand every engine is measured on: environments, processes, batches, ceilings, figures."""
