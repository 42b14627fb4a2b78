"""A target changed while it serves: what may be asked over the control socket, and what comes of it.

`methods` is the table of what may be asked, `parameters` checks it, `configuration` changes what there is
(each change whole or not at all), `rows` tells of it, `restoring` puts another in its place, and `control`
is what the socket talks to.
"""
