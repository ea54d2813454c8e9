"""What an instructor says of the course: `course.toml`, dates, and who takes part."""
