"""The command line: one module for each command, and nothing imported before it is needed."""
