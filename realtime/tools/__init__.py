"""Tools that the server runs itself: its own, and those of MCP servers. A session sees only
`realtime.ports.tools`."""
