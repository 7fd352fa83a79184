"""The course as pure functions of arrays."""
