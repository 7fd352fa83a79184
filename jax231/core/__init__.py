"""What every other folder stands on: types, errors for the caller, arithmetic on pytrees, precision, files."""
