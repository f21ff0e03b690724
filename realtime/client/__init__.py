"""A caller of a realtime server, as `realtime talk` and `realtime bench` need it. Knows only the wire."""
