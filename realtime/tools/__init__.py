"""Tools that the server runs: its own, and those of MCP servers. Sessions see `realtime.ports.tools` only."""
