"""MCP over stdio and HTTP: as thin as the command line. The package `mcp` is imported here alone."""
