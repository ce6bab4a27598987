"""What stands on each page: functions from values to lines. None of them knows of a terminal."""
