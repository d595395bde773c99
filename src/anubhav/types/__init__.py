"""The words of Anubhav: frozen dataclasses that every room speaks, free of any I/O."""
