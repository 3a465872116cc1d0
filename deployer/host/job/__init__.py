"""The one job of an app that may run: how it is started, waited for and followed, and what runs in it."""
