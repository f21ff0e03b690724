"""A client of a realtime server, for `realtime talk` and `realtime bench`. It depends only on the wire protocol."""
