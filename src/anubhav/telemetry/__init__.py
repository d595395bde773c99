"""What the server tells its operator about itself."""
