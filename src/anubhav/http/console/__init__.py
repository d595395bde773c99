"""The console: pages for people. They show what the public endpoints give, and their scripts call those endpoints."""
