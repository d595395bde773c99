"""The policies that are compared, each behind one protocol."""
