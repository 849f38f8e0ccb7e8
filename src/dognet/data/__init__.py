"""The images: made like the lecture's, or read from CSV files and checked."""
