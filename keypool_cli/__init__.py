"""keypool: one pool of Gemini API keys, never above a quota."""
