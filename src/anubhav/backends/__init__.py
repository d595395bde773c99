"""The engines: every filler of the ports in `ports.py`. Only `app` knows which one is used."""
