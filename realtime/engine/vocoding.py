"""The vocoder as a service: many replies on one `streaming_vocoder`, in a thread of its own.

A stream is vocoded when it has the tokens of its next chunk; the chunk is as small as possible for the first sound
and as large as the lead over playback allows later (`streaming_vocoder`'s chunk ladder). All streams that are ready
at the same moment go through the vocoder in one call.
"""
