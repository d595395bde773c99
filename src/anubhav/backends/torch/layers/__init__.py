"""What every model is made of: its configuration, frozen linear layers with adapters on them, attention over tries."""
