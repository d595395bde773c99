"""The pantry: journal, rows and blobs. The only room that speaks SQL; it knows no business rules."""
