"""Gemini over HTTP: its surface, its headers, and the streaming forwarder."""
