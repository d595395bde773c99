"""The releases room: what each alias answers with, who changed it and why, and the laps that led there."""
