"""``keypool demo``: the whole of keypool at work on one machine, in half a minute."""
