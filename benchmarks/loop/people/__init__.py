"""The people: the tasks they have, what they truly want, and how they say so, honestly or not."""
